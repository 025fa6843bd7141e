"""How tests read what the doctor found."""

from __future__ import annotations

from collections.abc import Iterable

from sandboxes.doctor.findings import Finding, Level

FINE, WARNING, WRONG = Level.OK, Level.WARNING, Level.ERROR


def levels(found: Iterable[Finding]) -> list[Level]:
    return [one.level for one in found]


def the_one(found: Iterable[Finding], level: Level) -> Finding:
    """The only finding of that level; whatever is not fine has a remedy."""
    (finding,) = [one for one in found if one.level is level]
    assert bool(finding.remedy) == (level is not FINE)
    return finding
