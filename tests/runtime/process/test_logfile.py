"""Log files of process sandboxes: limited in size, with each line counted once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandboxes.runtime.process.supervisor import logfile


@pytest.fixture(autouse=True, scope="module")
def _small() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logfile, "MAX_LOG_BYTES", 4000)
        patch.setattr(logfile, "KEPT_LOG_BYTES", 1000)
        yield


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "api.log"


def test_a_long_log_is_truncated_with_a_notice(log: Path) -> None:
    log.write_text("".join(f"line {number}\n" for number in range(1000)))
    size = log.stat().st_size
    logfile.truncate_log(log)
    first, *lines = log.read_text().splitlines(keepends=True)
    assert lines[-1] == "line 999\n"
    assert 990 < len("".join(lines)) <= 1000
    assert first == f"({size - len(''.join(lines))} bytes before this were dropped)\n"


def test_a_short_log_is_not_changed(log: Path) -> None:
    log.write_text("x" * 4000)
    logfile.truncate_log(log)
    assert log.read_text() == "x" * 4000


def test_the_end_of_a_single_long_line_is_kept(log: Path) -> None:
    log.write_text("x" * 5000 + "the end")
    logfile.truncate_log(log)
    assert log.read_text().endswith("x" * 993 + "the end")


def test_an_incomplete_line_is_read_once_it_is_complete(log: Path) -> None:
    log.write_text("one\ntw")
    text, place = logfile.read_from(log, 0)
    assert text == b"one\n"
    log.write_text("one\ntwo\n")
    assert logfile.read_from(log, place) == (b"two\n", 8)


@settings(max_examples=max(100, settings.default.max_examples))
@given(st.lists(st.tuples(st.integers(0, 120), st.booleans(), st.booleans()), max_size=12))
def test_every_remaining_line_is_read_once(log: Path, acts: list[tuple[int, bool, bool]]) -> None:
    log.write_text("")
    written, read, place = 0, [], 0
    for lines, shortens, reads in [*acts, (3, False, True)]:
        with log.open("a") as file:
            file.writelines(f"line {written + number}\n" for number in range(lines))
        written += lines
        if shortens:
            logfile.truncate_log(log)
        if reads:
            while (part := logfile.read_from(log, place))[0]:
                text, place = part
                read += [int(line.split()[1]) for line in text.splitlines()]
    assert read == sorted(set(read)), "none twice"
    assert read[-1] == written - 1
    dropped = set(range(written)) - set(read)
    assert not dropped or any(shortens for _, shortens, _ in acts)
