"""The admin's overview: running sandboxes, capacity, launches, and system status.

It reads rows and what the last sweep recorded, in a constant number of queries, and doesn't read
ended sandboxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from math import inf

from sandboxes.core import capacity
from sandboxes.core.fleet import Fleet
from sandboxes.lib import clock
from sandboxes.metrics import outcomes
from sandboxes.metrics.health import SWEEP_OVERDUE_AFTER
from sandboxes.models import (
    NON_TERMINAL,
    AuditEntry,
    Maintenance,
    OutcomeCount,
    Pool,
    Sandbox,
    State,
    SweepStatus,
    WorkerStatus,
)
from sandboxes.models.runtime_settings import config

MAX_RECENT_ENTRIES = 6
HEIGHT, WIDTH = 24, 120
"""Size of a plot's SVG view box."""


@dataclass(frozen=True)
class CapacityGauge:
    """Usage of a resource; `total` is None if it is unknown."""

    name: str
    used: float
    total: float | None
    unit: str = ""
    warn_at: float = 0.9
    """Share from which the gauge warns."""

    @property
    def share(self) -> float:
        return min(1.0, self.used / self.total) if self.total else 0.0

    @property
    def percent(self) -> int:
        return round(100 * self.share)

    @property
    def left(self) -> float:
        return max(0.0, (self.total or 0) - self.used)

    @property
    def is_nearly_full(self) -> bool:
        return bool(self.total) and self.share >= self.warn_at


@dataclass(frozen=True)
class LaunchStats:
    """Launches in a period, and two plots over its buckets."""

    title: str
    rows: Sequence[OutcomeCount]
    started_at: datetime
    bucket: timedelta
    bucket_count: int

    @cached_property
    def ready(self) -> outcomes.Histogram:
        return outcomes.sum_histograms(row for row in self.rows if row.result == "ready")

    @property
    def launches(self) -> int:
        return self.ready.count + self.failures

    @cached_property
    def failures(self) -> int:
        return sum(row.count for row in self.rows if row.result == "failed")

    @property
    def warm(self) -> int:
        return sum(r.count for r in self.rows if r.result == "ready" and r.launch_kind == "warm")

    @property
    def p50(self) -> float | None:
        return self.ready.quantile(0.5)

    @property
    def p95(self) -> float | None:
        return self.ready.quantile(0.95)

    @property
    def plot(self) -> str:
        """Launches per bucket, as points of an SVG polyline."""
        return self._line(lambda row: row.result in ("ready", "failed"))

    @property
    def failures_plot(self) -> str:
        return self._line(lambda row: row.result == "failed") if self.failures else ""

    def _line(self, counts: Callable[[OutcomeCount], bool]) -> str:
        heights = self._heights(row for row in self.rows if counts(row))
        top = max(self._heights(self.rows), default=0) or 1
        step = WIDTH / (self.bucket_count - 1)
        points = ((x * step, HEIGHT - 1 - (HEIGHT - 2) * y / top) for x, y in enumerate(heights))
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)

    def _heights(self, rows: Iterable[OutcomeCount]) -> list[int]:
        heights = Counter[int]()
        for row in rows:
            heights[(row.bucket_start - self.started_at) // self.bucket] += row.count
        return [heights[number] for number in range(self.bucket_count)]


PERIODS = (
    ("the last hour", timedelta(minutes=5), 12),
    ("the last day", timedelta(hours=1), 24),
    ("the last week", timedelta(hours=6), 28),
)


class OperatorOverview:
    """The current status; each value is computed once, on demand."""

    def __init__(self) -> None:
        self.now = clock.now()
        self.maintenance = Maintenance.current()
        self.fleet = Fleet.read()
        self.engine = self.fleet.engines[0]
        self.sweep = SweepStatus.current()
        self.worker = WorkerStatus.read()

    @cached_property
    def live(self) -> list[Sandbox]:
        """Live sandboxes; their number is limited by the portal's capacity."""
        columns = ("public_id", "state", "created_at", "leased_until", "memory_mb", "disk_mb")
        rows = Sandbox.objects.live().order_by("created_at")
        return list(rows.only(*columns, "removal_error", "from_pool", "owner_id"))

    @property
    def states(self) -> list[tuple[State, int]]:
        counted = Counter(row.state for row in self.live)
        return [(state, counted[state]) for state in State if state in NON_TERMINAL]

    @cached_property
    def pools(self) -> list[Pool]:
        return list(Pool.objects.order_by("blueprint"))

    @cached_property
    def gauges(self) -> list[CapacityGauge]:
        pool = [row for row in self.live if row.from_pool and row.owner_id is None]
        requested, slots = len(self.live) - len(pool), capacity.site_limit(self.fleet)
        committed = sum(row.memory_mb for row in self.live)
        memory = self.fleet.total("memory_mb")
        wanted = sum(row.target_size for row in self.pools)
        ready = sum(row.state == State.POOLED for row in pool)
        return [
            CapacityGauge("slots", requested, slots),
            CapacityGauge(
                "memory committed",
                committed,
                memory and memory * config.SANDBOX_MEMORY_OVERCOMMIT,
                "MB",
            ),
            self.disk,
            self.subnets,
            CapacityGauge("warm pool", ready, wanted or None, warn_at=inf),
        ]

    @cached_property
    def disk(self) -> CapacityGauge:
        total, free = self.fleet.total("disk_total_mb"), self.fleet.total("disk_free_mb")
        if total is None or free is None:
            return CapacityGauge("engine disk", 0, None, "MB")
        return CapacityGauge("engine disk", total - free, total, "MB")

    @cached_property
    def subnets(self) -> CapacityGauge:
        total = config.SANDBOX_SUBNETS.num_addresses // capacity.SUBNET_ADDRESSES
        total *= len(self.fleet.engines)
        taken = self.fleet.total("subnets_taken")
        return CapacityGauge("subnets", taken or 0, None if taken is None else total)

    @cached_property
    def launch_stats(self) -> list[LaunchStats]:
        week = outcomes.counts_since(self.now - timedelta(days=7))
        rows = [row for row in week if row.operation == "launch"]
        found = []
        for title, part, parts in PERIODS:
            end = outcomes.bucket_start(self.now) + outcomes.BUCKET_SPAN
            began = end - part * parts
            found.append(
                LaunchStats(title, [r for r in rows if r.bucket_start >= began], began, part, parts)
            )
        return found

    @property
    def sweep_age(self) -> timedelta | None:
        return self.now - self.sweep.last_sweep_at if self.sweep.last_sweep_at else None

    @property
    def is_sweep_overdue(self) -> bool:
        return self.sweep_age is None or abs(self.sweep_age) > SWEEP_OVERDUE_AFTER

    @property
    def worker_age(self) -> timedelta | None:
        """Time since a worker last reported; None if no worker ever did."""
        last = self.worker.last_heartbeat_at
        return self.now - last if last else None

    @property
    def engine_versions(self) -> str:
        """Name and version of the engine, or of all engines with their states."""
        engines = self.fleet.engines
        if len(engines) == 1:
            return engines[0].version
        return ", ".join(f"{one} ({one.state}): {one.version or 'unknown'}" for one in engines)

    @property
    def is_engine_unreachable(self) -> bool:
        return not self.sweep.engine_reachable

    @cached_property
    def pending(self) -> list[Sandbox]:
        """Launches that no worker has started, oldest first."""
        return [row for row in self.live if row.state == State.PENDING]

    @property
    def oldest_wait(self) -> timedelta | None:
        return self.now - self.pending[0].created_at if self.pending else None

    @property
    def provisioning_count(self) -> int:
        return sum(row.state == State.PROVISIONING for row in self.live)

    @property
    def in_maintenance(self) -> bool:
        return self.maintenance.is_active

    @cached_property
    def recent_audit_entries(self) -> list[AuditEntry]:
        return list(AuditEntry.objects.order_by("-at", "-id")[:MAX_RECENT_ENTRIES])
