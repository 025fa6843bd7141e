"""Estimate how long a launch takes, based on recent launches of the same blueprint."""

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
from sandboxes.models import LAUNCHING_STATES, Sandbox, State
from sandboxes.models.runtime_settings import config

RECENT_LAUNCHES = 60
"""Number of recent launches to read, of all blueprints together, to bound the work."""
MAX_PROGRESS = 0.97
"""Share of the progress bar that is filled at most before the sandbox runs."""


@dataclass(frozen=True)
class TypicalDurations:
    """Median duration of each step in recent launches, in seconds."""

    launches: int
    """Number of launches that the medians come from."""
    seconds: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


@dataclass(frozen=True)
class LaunchEta:
    """Progress of a launch in seconds: `spent` of about `total`."""

    spent: float
    total: float
    typical: TypicalDurations
    overdue: bool
    """Whether the launch takes longer than usual, so that no time is promised."""

    @property
    def remaining(self) -> float:
        return max(0.0, self.total - self.spent)

    @property
    def progress(self) -> float:
        """Value of a progress bar whose maximum is `total`."""
        return min(self.spent, MAX_PROGRESS * self.total)


class EtaCalculator:
    """Estimate launches of one page or list; reads the recent launches and the queue once."""

    @cached_property
    def recent_launches(self) -> list[Sandbox]:
        rows = Sandbox.objects.newest_first().only("blueprint", "steps")
        return list(rows[:RECENT_LAUNCHES])

    @cached_property
    def queue_times(self) -> list[datetime]:
        """Request times of launches that wait or are being provisioned."""
        return list(launch_queue.waiting_launches().values_list("created_at", flat=True))

    def typical(self, blueprint: str) -> TypicalDurations | None:
        """Return the medians of recent successful launches; None if there are none."""
        recent = (row for row in self.recent_launches if row.blueprint == blueprint)
        launched = [row.steps for row in recent if _succeeded(row)]
        durations: dict[str, list[float]] = defaultdict(list)
        for step in chain.from_iterable(launched):
            durations[step["name"]].append(step["seconds"])
        medians = {name: round(median(took), 2) for name, took in durations.items()}
        return TypicalDurations(len(launched), medians) if launched else None

    def estimate(self, sandbox: Sandbox) -> LaunchEta | None:
        """Return the estimate of a pending or provisioning sandbox; None if there is none."""
        if sandbox.state not in LAUNCHING_STATES:
            return None
        typical = self.typical(sandbox.blueprint)
        if typical is None:
            return None
        if sandbox.state == State.PROVISIONING:
            return _eta_of_provisioning(sandbox, typical)
        ahead = sum(at < sandbox.created_at for at in self.queue_times)
        return _eta_of_waiting(sandbox, typical, ahead)


def _succeeded(row: Sandbox) -> bool:
    return bool(row.steps) and all(step["state"] == "done" for step in row.steps)


def _eta_of_waiting(sandbox: Sandbox, typical: TypicalDurations, ahead: int) -> LaunchEta:
    """Estimate a launch that waits for those requested before it, some of which run at a time."""
    total = (1 + ahead // config.SANDBOX_MAX_CONCURRENT_LAUNCHES) * typical.total
    spent = max(0.0, (clock.now() - sandbox.created_at).total_seconds())
    return LaunchEta(spent, max(total, spent), typical, overdue=spent > total + 1)


def _eta_of_provisioning(sandbox: Sandbox, typical: TypicalDurations) -> LaunchEta:
    """Count finished steps with their own duration, and the others with the typical one."""
    spent = total = 0.0
    overdue, reached = False, set()
    for step in sandbox.steps:
        reached.add(step["name"])
        took, about = _duration(step), typical.seconds.get(step["name"], 0.0)
        running = step["state"] == "running"
        spent += took
        total += max(took, about) if running else took
        overdue = running and took > 1.5 * about + 1
    total += sum(s for name, s in typical.seconds.items() if name not in reached)
    return LaunchEta(spent, total, typical, overdue)


def _duration(step: Mapping[str, Any]) -> float:
    if step["seconds"] is not None:
        return float(step["seconds"])
    began = datetime.fromisoformat(step["started_at"])
    return max(0.0, (clock.now() - began).total_seconds())
