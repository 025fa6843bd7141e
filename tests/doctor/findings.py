"""Helpers to read findings of the doctor."""

from __future__ import annotations

from collections.abc import Iterable

from sandboxes.doctor.findings import Finding, Level

FINE, WARNING, WRONG = Level.OK, Level.WARNING, Level.ERROR


def levels(found: Iterable[Finding]) -> list[Level]:
    return [one.level for one in found]


def the_one(found: Iterable[Finding], level: Level) -> Finding:
    """Return the only finding of the level, and check that it has a remedy unless it is ok."""
    (finding,) = [one for one in found if one.level is level]
    assert bool(finding.remedy) == (level is not FINE)
    return finding
