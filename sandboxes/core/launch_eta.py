"""How long making a sandbox takes, as recent launches of its blueprint went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import chain
from statistics import median
from typing import Any

from sandboxes.core import launch_queue
from sandboxes.lib import clock
from sandboxes.models import Sandbox, State
from sandboxes.models.runtime_settings import settings

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


class Estimator:
    """Estimates for the sandboxes of one page or list, from what is read once for all of them."""

    @cached_property
    def recent(self) -> list[Sandbox]:
        rows = Sandbox.objects.newest_first().only("blueprint", "steps")
        return list(rows[:RECENT])

    @cached_property
    def queue(self) -> list[datetime]:
        """When those came who wait, or whose sandboxes are being made."""
        return list(launch_queue.people().values_list("created_at", flat=True))

    def usual(self, blueprint: str) -> Usual | None:
        """The medians of recent launches that came to run; None when there are none."""
        runs = [row.steps for row in self.recent if row.blueprint == blueprint and _went_well(row)]
        taken: dict[str, list[float]] = defaultdict(list)
        for step in chain.from_iterable(runs):
            taken[step["name"]].append(step["seconds"])
        middle = {name: round(median(took), 2) for name, took in taken.items()}
        return Usual(len(runs), middle) if runs else None

    def estimate(self, sandbox: Sandbox) -> Estimate | None:
        """While it waits or is being made; None when nothing can be told."""
        if sandbox.state not in (State.PENDING, State.PROVISIONING):
            return None
        known = self.usual(sandbox.blueprint)
        if known is None:
            return None
        if sandbox.state == State.PROVISIONING:
            return _made(sandbox, known)
        return _waiting(sandbox, known, sum(at < sandbox.created_at for at in self.queue))


def _went_well(row: Sandbox) -> bool:
    return bool(row.steps) and all(step["state"] == "done" for step in row.steps)


def _waiting(sandbox: Sandbox, known: Usual, before: int) -> Estimate:
    """It is made after those who came before it, some of them at a time."""
    total = (1 + before // settings.SANDBOX_MAX_CONCURRENT_LAUNCHES) * known.total
    spent = max(0.0, (clock.now() - sandbox.created_at).total_seconds())
    return Estimate(spent, max(total, spent), known, overdue=spent > total + 1)


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
