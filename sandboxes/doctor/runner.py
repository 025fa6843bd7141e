"""Runs checks one by one, with a timeout; an exception becomes a finding."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import monotonic

from django.db import DatabaseError, connections

from sandboxes.doctor.findings import Check, Finding, Level, error, redacted
from sandboxes.runtime import RuntimeFailure


@dataclass(frozen=True)
class Result:
    """The findings of a check, and its duration."""

    check: Check
    findings: list[Finding]
    seconds: float


def run_checks(checks: Iterable[Check]) -> Iterator[Result]:
    """Run the checks and yield each result as soon as it is known."""
    for check in checks:
        started = monotonic()
        findings = _run_with_timeout(check)
        yield Result(check, findings, monotonic() - started)


def overall_level(results: Iterable[Result]) -> Level:
    levels = {finding.level for result in results for finding in result.findings}
    return next((one for one in (Level.ERROR, Level.WARNING) if one in levels), Level.OK)


def _run_with_timeout(check: Check) -> list[Finding]:
    found: list[Finding] = []
    # A check that hangs is abandoned; its thread ends with the process.
    thread = threading.Thread(target=_run, args=(check, found), daemon=True)
    thread.start()
    thread.join(check.seconds)
    if thread.is_alive():
        return [
            *found,
            error(f"The check timed out after {check.seconds:g} s.", "Find out why it hangs."),
        ]
    return found


def _run(check: Check, found: list[Finding]) -> None:
    try:
        found.extend(check.run())
    except DatabaseError as exc:
        remedy = "Fix the database first, then run the doctor again."
        found.append(error(f"A database error prevented this check: {redacted(exc)}.", remedy))
    except RuntimeFailure as exc:
        remedy = "Fix what “runtime” reports first, then run the doctor again."
        found.append(error(str(exc), remedy))
    except Exception as exc:  # noqa: BLE001 - a check that breaks must not hide the others
        remedy = "If no other finding explains it, report it as a bug of the portal."
        found.append(error(f"The check itself failed: {redacted(exc)}.", remedy))
    finally:
        connections.close_all()
