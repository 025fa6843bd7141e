"""What operators see of each engine, read in a constant number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from django.db.models import Count, Max, Q, Sum

from sandboxes.core import capacity
from sandboxes.models import Engine, Sandbox, State

RECENT_LAUNCHES = 300
"""Number of recent launches on all engines together that the launch times come from."""


@dataclass(frozen=True)
class EngineStatus:
    """An engine and its sandboxes."""

    engine: Engine
    sandboxes: int = 0
    """Number of live ones, those of the warm pool included."""
    pooled: int = 0
    promised_mb: int = 0
    last_expiry: datetime | None = None
    """When the last of its running sandboxes expires, unless its owner extends it."""
    launch_seconds: float | None = None
    """Median of recent cold launches; None without one."""

    @property
    def progress(self) -> str:
        """How far an engine that is being drained is; empty for others."""
        if self.engine.draining_since is None:
            return ""
        return f"draining: {self.sandboxes} left" if self.sandboxes else "drained"

    @property
    def usable_mb(self) -> int:
        """The memory that may be promised."""
        return max(0, int(capacity.usable_memory(self.engine)))


def statuses(engines: Iterable[Engine]) -> dict[str, EngineStatus]:
    """Return the status of each of these engines, by its name."""
    live = Sandbox.objects.live().order_by().values("engine_id")
    found: dict[str, dict[str, Any]] = {
        row["engine_id"]: {key: value for key, value in row.items() if key != "engine_id"}
        for row in live.annotate(
            sandboxes=Count("pk"),
            pooled=Count("pk", filter=Q(state=State.POOLED)),
            promised_mb=Sum("memory_mb"),
            last_expiry=Max("expires_at", filter=Q(state=State.RUNNING)),
        )
    }
    seconds = _launch_seconds()
    return {
        one.name: EngineStatus(one, **found.get(one.name, {}), launch_seconds=seconds.get(one.name))
        for one in engines
    }


def _launch_seconds() -> Mapping[str, float]:
    rows = Sandbox.objects.newest_first().filter(from_pool=False)
    took: dict[str, list[float]] = defaultdict(list)
    times = rows.values_list("engine_id", "created_at", "started_at")[:RECENT_LAUNCHES]
    for engine, created_at, started_at in times:
        if started_at:
            took[engine].append((started_at - created_at).total_seconds())
    return {engine: round(median(seconds), 2) for engine, seconds in took.items()}
