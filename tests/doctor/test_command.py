"""The command `manage.py doctor`: timeouts, report, and exit status."""

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
from sandboxes.runtime import EngineUnreachable

RIGHT = Check("right", lambda: [ok("All is well.")])
DOUBTFUL = Check("doubtful", lambda: [warning("It is old.", "Replace it.")])
BROKEN = Check("broken", lambda: [error("It is broken.", "Fix it.")])


def results(*checks: Check) -> list[Result]:
    return list(run_checks(checks))


def test_a_crashing_check_is_a_finding() -> None:
    def crash() -> Iterator[Finding]:
        yield ok("This much was seen.")
        raise KeyError("Driver")

    crashed, right = results(Check("crash", crash), RIGHT)
    assert [one.level for one in crashed.findings] == [Level.OK, Level.ERROR]
    assert "KeyError: 'Driver'" in crashed.findings[1].message
    assert crashed.findings[1].remedy
    assert right.findings == [ok("All is well.")]


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (OperationalError("connection refused"), "A database error prevented this check"),
        (EngineUnreachable("The engine did not answer."), "The engine did not answer."),
    ],
)
def test_an_error_of_the_database_or_the_engine_is_reported_as_such(
    cause: Exception, message: str
) -> None:
    def refuse() -> Iterator[Finding]:
        raise cause
        yield

    (result,) = results(Check("keys", refuse))
    assert result.findings[0].message.startswith(message)
    assert "again" in result.findings[0].remedy
    assert result.findings[0].level is Level.ERROR


def test_a_hanging_check_times_out_and_keeps_its_findings() -> None:
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


def test_passwords_in_errors_are_redacted() -> None:
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
def test_the_overall_level_is_the_worst_finding(
    checks: list[Check], level: str, words: str
) -> None:
    assert overall_level(results(*checks)) == level
    assert report.summary(results(*checks)) == words


def test_the_report_is_aligned_with_remedies_below() -> None:
    long = "It is broken, " + "and then some more is to be said of it, " * 3
    (result,) = results(Check("thing", lambda: [error(long, "Fix it."), ok("The rest is well.")]))
    lines = list(report.lines(result, no_style()))
    assert lines[0].startswith("✗ thing           It is broken")
    assert {line[:18] for line in lines[1:]} == {" " * 18, "✓" + " " * 17}
    assert lines[-2].strip() == "→ Fix it."
    assert max(map(len, lines)) <= 100


def test_colors_are_only_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    (result,) = results(BROKEN)
    assert not any("\033" in line for line in report.lines(result, no_style()))
    assert any("\033" in line for line in report.lines(result, color_style(force_color=True)))


@pytest.mark.parametrize(("check", "status"), [(RIGHT, 0), (DOUBTFUL, 0), (BROKEN, 1)])
def test_the_exit_status_is_1_on_errors(
    monkeypatch: pytest.MonkeyPatch, check: Check, status: int
) -> None:
    monkeypatch.setattr(registry, "CHECKS", (check,))
    assert run()[0] == status


def test_the_json_report_has_the_same_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CHECKS", (RIGHT, BROKEN))
    status, output = run("--json")
    page = json.loads(output)
    assert (status, page["verdict"]) == (1, "wrong")
    assert page["findings"][1] == {
        "check": "broken",
        "level": "wrong",
        "words": "It is broken.",
        "remedy": "Fix it.",
    }
    assert page["seconds"].keys() == {"right", "broken"}


def run(*arguments: str) -> tuple[int, str]:
    """Return the exit status and the output."""
    out = StringIO()
    try:
        call_command("doctor", *arguments, stdout=out, no_color=True)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_names_of_checks_are_unique() -> None:
    names = [check.name for check in registry.all_checks("alice@example.com")]
    assert len(names) == len(set(names))
    assert max(map(len, names)) < report.NAME_WIDTH
