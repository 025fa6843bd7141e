"""How long making a sandbox takes, as recent launches of its blueprint went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from sandboxes import clock, turns
from sandboxes.models import Sandbox, State
from sandboxes.models.tuning import settings

RECENT = 60
"""Launches that are looked at, of whatever blueprint: no portal has more work with it."""
NEARLY = 0.97
"""No bar is full before the sandbox runs."""


@dataclass(frozen=True)
class Usual:
    """What each step took in the middle of so many launches, in seconds."""

    runs: int
    seconds: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Estimate:
    """How far the making of a sandbox is, in seconds: `spent` of about `total`."""

    spent: float
    total: float
    usual: Usual
    overdue: bool
    """It takes longer than usual, so nothing more is promised."""

    @property
    def left(self) -> float:
        return max(0.0, self.total - self.spent)

    @property
    def shown(self) -> float:
        """As much of `total` as a bar may show."""
        return min(self.spent, NEARLY * self.total)


def usual(blueprint: str) -> Usual | None:
    """The medians of recent launches that came to run; None when there are none."""
    rows = Sandbox.objects.newest_first().only("blueprint", "steps", "attempt")[:RECENT]
    taken, runs = defaultdict(list), 0
    for row in rows:
        if row.blueprint == blueprint and _went_well(row):
            runs += 1
            for step in row.steps:
                taken[step["name"]].append(step["seconds"])
    if not runs:
        return None
    return Usual(runs, {name: round(median(took), 2) for name, took in taken.items()})


def _went_well(row: Sandbox) -> bool:
    """Made in one go: of a second attempt, much was there already."""
    return row.attempt == 1 and bool(row.steps) and all(s["state"] == "done" for s in row.steps)


def estimate(sandbox: Sandbox) -> Estimate | None:
    """For a sandbox that is being made or waits for that; None when nothing can be told."""
    if sandbox.state not in (State.PENDING, State.PROVISIONING):
        return None
    known = usual(sandbox.blueprint)
    if known is None:
        return None
    return _waiting(sandbox, known) if sandbox.state == State.PENDING else _made(sandbox, known)


def _waiting(sandbox: Sandbox, known: Usual) -> Estimate:
    """It is made after those who came before it, some of them at a time."""
    before = turns.people().filter(created_at__lt=sandbox.created_at).count()
    rounds = 1 + before // settings.SANDBOX_LAUNCHES_AT_ONCE
    spent = (clock.now() - sandbox.created_at).total_seconds()
    total = rounds * known.total
    return Estimate(max(0.0, spent), total, known, overdue=spent > total + 1)


def _made(sandbox: Sandbox, known: Usual) -> Estimate:
    """Steps that are done count as they went, those to come as they usually go."""
    spent = total = 0.0
    overdue, reached = False, set()
    for step in sandbox.steps:
        reached.add(step["name"])
        took, about = _took(step), known.seconds.get(step["name"], 0.0)
        running = step["state"] == "running"
        spent += took
        total += max(took, about) if running else took
        overdue = running and took > 1.5 * about + 1
    total += sum(s for name, s in known.seconds.items() if name not in reached)
    return Estimate(spent, total, known, overdue)


def _took(step: Mapping[str, Any]) -> float:
    if step["seconds"] is not None:
        return float(step["seconds"])
    began = datetime.fromisoformat(step["started_at"])
    return max(0.0, (clock.now() - began).total_seconds())
