"""`manage.py doctor` as a whole: each check within its time, a readable page, an exit status."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.color import color_style, no_style
from django.db import OperationalError

from sandboxes.doctor import registry, report
from sandboxes.doctor.findings import Check, Finding, Level, error, ok, redacted, warning
from sandboxes.doctor.runner import Result, overall_level, run_checks

RIGHT = Check("right", lambda: [ok("All is well.")])
DOUBTFUL = Check("doubtful", lambda: [warning("It is old.", "Replace it.")])
BROKEN = Check("broken", lambda: [error("It is broken.", "Mend it.")])


def results(*checks: Check) -> list[Result]:
    return list(run_checks(checks))


def test_a_check_that_crashes_is_a_finding_and_the_next_is_made_all_the_same() -> None:
    def crash() -> Iterator[Finding]:
        yield ok("This much was seen.")
        raise KeyError("Driver")

    crashed, right = results(Check("crash", crash), RIGHT)
    assert [one.level for one in crashed.findings] == [Level.OK, Level.ERROR]
    assert "KeyError: 'Driver'" in crashed.findings[1].message
    assert crashed.findings[1].remedy
    assert right.findings == [ok("All is well.")]


def test_a_database_that_stands_in_the_way_is_told_as_that() -> None:
    def refuse() -> Iterator[Finding]:
        raise OperationalError("connection refused")
        yield

    (result,) = results(Check("keys", refuse))
    assert "A database error prevented this check" in result.findings[0].message
    assert result.findings[0].level is Level.ERROR


def test_a_check_that_hangs_is_given_up_with_what_it_found_until_then() -> None:
    never = threading.Event()

    def hang() -> Iterator[Finding]:
        yield ok("So far.")
        never.wait(20)

    hung, right = results(Check("hang", hang, 0.05), RIGHT)
    assert [one.message for one in hung.findings] == [
        "So far.",
        "The check timed out after 0.05 s.",
    ]
    assert right.findings
    never.set()


def test_what_an_error_says_of_a_password_is_left_out() -> None:
    error = OSError("no route to redis://portal:s3cret@cache:6379/0\n at all")
    assert redacted(error) == "OSError: no route to redis://•••@cache:6379/0 at all"


@pytest.mark.parametrize(
    ("checks", "level", "words"),
    [
        ([RIGHT], "fine", "No errors, no warnings, 1 passed."),
        ([RIGHT, DOUBTFUL], "warning", "No errors, 1 warning, 1 passed."),
        ([DOUBTFUL, BROKEN, RIGHT], "wrong", "1 error, 1 warning, 1 passed."),
    ],
)
def test_the_worst_finding_is_the_verdict(checks: list[Check], level: str, words: str) -> None:
    assert overall_level(results(*checks)) == level
    assert report.summary(results(*checks)) == words


def test_the_page_is_aligned_and_says_under_each_what_to_do() -> None:
    long = "It is broken, " + "and then some more is to be said of it, " * 3
    (result,) = results(Check("thing", lambda: [error(long, "Mend it."), ok("The rest is well.")]))
    lines = list(report.lines(result, no_style()))
    assert lines[0].startswith("✗ thing           It is broken")
    assert {line[:18] for line in lines[1:]} == {" " * 18, "✓" + " " * 17}
    assert lines[-2].strip() == "→ Mend it."
    assert max(map(len, lines)) <= 100


def test_only_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    (result,) = results(BROKEN)
    assert not any("\033" in line for line in report.lines(result, no_style()))
    assert any("\033" in line for line in report.lines(result, color_style(force_color=True)))


@pytest.mark.parametrize(("check", "status"), [(RIGHT, 0), (DOUBTFUL, 0), (BROKEN, 1)])
def test_the_exit_status_tells_whether_something_is_wrong(
    monkeypatch: pytest.MonkeyPatch, check: Check, status: int
) -> None:
    monkeypatch.setattr(registry, "CHECKS", (check,))
    assert run()[0] == status


def test_as_json_it_tells_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CHECKS", (RIGHT, BROKEN))
    status, output = run("--json")
    page = json.loads(output)
    assert (status, page["verdict"]) == (1, "wrong")
    assert page["findings"][1] == {
        "check": "broken",
        "level": "wrong",
        "words": "It is broken.",
        "remedy": "Mend it.",
    }
    assert page["seconds"].keys() == {"right", "broken"}


def run(*arguments: str) -> tuple[int, str]:
    """The exit status, and what was printed."""
    out = StringIO()
    try:
        call_command("doctor", *arguments, stdout=out, no_color=True)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_no_two_checks_have_one_name() -> None:
    names = [check.name for check in registry.all_checks("alice@example.com")]
    assert len(names) == len(set(names))
    assert max(map(len, names)) < report.NAME_WIDTH
