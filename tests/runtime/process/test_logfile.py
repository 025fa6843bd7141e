"""A log of a service that is a process: bounded, and no line of it counted twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandboxes.runtime.process import logfile


@pytest.fixture(autouse=True, scope="module")
def _small() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logfile, "MAX_LOG_BYTES", 4000)
        patch.setattr(logfile, "KEPT_LOG_BYTES", 1000)
        yield


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "api.log"


def test_a_long_log_is_shortened_to_its_last_lines_and_says_so(log: Path) -> None:
    log.write_text("".join(f"line {number}\n" for number in range(1000)))
    size = log.stat().st_size
    logfile.truncate_log(log)
    first, *lines = log.read_text().splitlines(keepends=True)
    assert lines[-1] == "line 999\n"
    assert 990 < len("".join(lines)) <= 1000
    assert first == f"({size - len(''.join(lines))} bytes before this were dropped)\n"


def test_a_log_that_is_not_long_stays_as_it_is(log: Path) -> None:
    log.write_text("x" * 4000)
    logfile.truncate_log(log)
    assert log.read_text() == "x" * 4000


def test_a_single_endless_line_keeps_its_end(log: Path) -> None:
    log.write_text("x" * 5000 + "the end")
    logfile.truncate_log(log)
    assert log.read_text().endswith("x" * 993 + "the end")


def test_a_line_that_is_not_whole_yet_is_read_when_it_is(log: Path) -> None:
    log.write_text("one\ntw")
    text, place = logfile.read_from(log, 0)
    assert text == b"one\n"
    log.write_text("one\ntwo\n")
    assert logfile.read_from(log, place) == (b"two\n", 8)


@settings(max_examples=max(100, settings.default.max_examples))
@given(st.lists(st.tuples(st.integers(0, 120), st.booleans(), st.booleans()), max_size=12))
def test_every_line_that_is_still_there_is_read_once(
    log: Path, acts: list[tuple[int, bool, bool]]
) -> None:
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
