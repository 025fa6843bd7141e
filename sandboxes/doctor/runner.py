"""Runs checks one by one: none may take longer than it should, and one that fails is a finding."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import monotonic

from django.db import DatabaseError, connections

from sandboxes.doctor.findings import Check, Finding, Level, told, wrong


@dataclass(frozen=True)
class Result:
    """What one check found, and how long it took."""

    check: Check
    findings: list[Finding]
    seconds: float


def examine(checks: Iterable[Check]) -> Iterator[Result]:
    """The results in order, each as soon as it is known."""
    for check in checks:
        started = monotonic()
        findings = _within_its_time(check)
        yield Result(check, findings, monotonic() - started)


def worst(results: Iterable[Result]) -> Level:
    levels = {finding.level for result in results for finding in result.findings}
    return next((one for one in (Level.WRONG, Level.WARNING) if one in levels), Level.FINE)


def _within_its_time(check: Check) -> list[Finding]:
    found: list[Finding] = []
    # What hangs is left behind, and ends with the process.
    thread = threading.Thread(target=_look, args=(check, found), daemon=True)
    thread.start()
    thread.join(check.seconds)
    if thread.is_alive():
        return [*found, wrong(f"It took longer than {check.seconds:g} s.", "See why it hangs.")]
    return found


def _look(check: Check, found: list[Finding]) -> None:
    try:
        found.extend(check.look())
    except DatabaseError as error:
        remedy = "Mend the database first, then look again."
        found.append(wrong(f"The database stood in the way: {told(error)}.", remedy))
    except Exception as error:  # noqa: BLE001 - a check that breaks must not hide the others
        remedy = "If nothing else here explains it, it is a fault of the portal: report it."
        found.append(wrong(f"The check itself failed: {told(error)}.", remedy))
    finally:
        connections.close_all()
