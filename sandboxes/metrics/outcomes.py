"""Counts and durations of launches and removals, aggregated from the journal by sweeps.

Each event counts once even if sweeps overlap: `OutcomeCursor` is the last aggregated event, and it
moves in the transaction that counts. The cost of reading doesn't grow with the history.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Min

from sandboxes.lib import clock
from sandboxes.models import FAILURE_REASONS, Event, EventKind, OutcomeCount, OutcomeCursor, Sandbox
from sandboxes.models.outcome_count import ALL_TIME

BUCKET_SPAN = timedelta(minutes=5)
RETENTION = timedelta(days=8)
SETTLE_DELAY = timedelta(seconds=15)
"""Maximum duration of a transaction that writes events; younger events may still be incomplete."""
BATCH_SIZE = 2000
MAX_BATCHES = 10
"""Batches per sweep. Limits the first aggregation of a long history."""
BUCKET_BOUNDS = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 120, 300, 600)
"""Upper bounds of the histogram buckets, in seconds."""
COUNTED_EVENTS = (EventKind.RUNNING, EventKind.ENDING, EventKind.DESTROYED, EventKind.FAILED)

Key = tuple[datetime, str, str, str]
"""Start of the bucket, operation, kind of launch, result."""


@dataclass
class Histogram:
    """Histogram of the durations of one kind of outcome."""

    count: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKET_BOUNDS) + 1))

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += max(0.0, seconds)
        self.buckets[bisect_left(BUCKET_BOUNDS, seconds)] += 1

    def merge(self, other: Histogram | OutcomeCount) -> None:
        self.count += other.count
        self.seconds += other.seconds
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]

    def quantile(self, share: float) -> float | None:
        """Return the estimated quantile (0 to 1) in seconds; None if the histogram is empty."""
        return quantile(self.buckets, share)


def quantile(buckets: Sequence[int], share: float) -> float | None:
    """Return the quantile, interpolated inside its bucket as in Prometheus."""
    rank, below = sum(buckets) * share, 0
    if not rank:
        return None
    edges = [0.0, *BUCKET_BOUNDS, BUCKET_BOUNDS[-1]]
    for number, count in enumerate(buckets):
        if below + count >= rank:
            low, high = edges[number], edges[number + 1]
            return low + (high - low) * (rank - below) / count
        below += count
    return BUCKET_BOUNDS[-1]


def aggregate_events() -> None:
    """Aggregate new journal events, up to the limit per sweep."""
    for _ in range(MAX_BATCHES):
        if not _aggregate_batch():
            return


@transaction.atomic
def _aggregate_batch() -> bool:
    """Aggregate one batch of events; return whether there may be more."""
    done = OutcomeCursor.current().last_event_id
    new = Event.objects.filter(pk__gt=done)
    now = clock.now()
    # Events of the future were written before the clock was set back.
    fresh = new.filter(created_at__gt=now - SETTLE_DELAY, created_at__lte=now + clock.TOLERANCE)
    unsettled = fresh.aggregate(pk=Min("pk"))["pk"]
    settled = new.filter(pk__lt=unsettled) if unsettled else new
    events = list(settled.select_related("sandbox").defer("sandbox__secrets")[:BATCH_SIZE])
    if not events:
        return False
    moved = OutcomeCursor.objects.filter(pk=1, last_event_id=done).update(
        last_event_id=events[-1].pk
    )
    if moved:
        _save(_outcomes([event for event in events if event.kind in COUNTED_EVENTS]))
    return bool(moved) and len(events) == BATCH_SIZE


def _outcomes(events: list[Event]) -> Iterable[tuple[Key, float]]:
    ends = {EventKind.DESTROYED, EventKind.FAILED}
    removed = [event.sandbox_id for event in events if event.kind in ends]
    removal_starts = dict(
        Event.objects.filter(sandbox__in=removed, kind=EventKind.ENDING).values_list(
            "sandbox", "created_at"
        )
    )
    for event in events:
        sandbox = event.sandbox
        bucket = bucket_start(event.created_at)
        kind = "warm" if sandbox.from_pool else "cold"
        if event.kind == EventKind.RUNNING:
            yield (bucket, "launch", kind, "ready"), float(event.data.get("seconds", 0))
        elif event.kind in ends:
            duration = event.created_at - removal_starts.get(event.sandbox_id, event.created_at)
            result = "retried" if sandbox.removal_attempts else "removed"
            yield (bucket, "destroy", kind, result), duration.total_seconds()
        elif _launch_failed(sandbox):
            result = "failed" if event.data.get("reason") in FAILURE_REASONS else "cancelled"
            duration = event.created_at - sandbox.created_at
            yield (bucket, "launch", kind, result), duration.total_seconds()


def _launch_failed(sandbox: Sandbox) -> bool:
    """Return whether a user's launch failed; sandboxes made only for the pool don't count."""
    return sandbox.started_at is None and not (sandbox.from_pool and sandbox.owner_id is None)


def bucket_start(at: datetime) -> datetime:
    """Return the start of the time bucket that contains this moment."""
    return at - (at - ALL_TIME) % BUCKET_SPAN


def _save(outcomes: Iterable[tuple[Key, float]]) -> None:
    sums: dict[Key, Histogram] = defaultdict(Histogram)
    for (bucket, *labels), seconds in outcomes:
        for start in (bucket, ALL_TIME):
            sums[(start, *labels)].add(seconds)  # type: ignore[index]
    for key, added in sums.items():
        row = _locked_row(key)
        total = Histogram(row.count, row.seconds, row.buckets or Histogram().buckets)
        total.merge(added)
        values = {"count": total.count, "seconds": total.seconds, "buckets": total.buckets}
        OutcomeCount.objects.filter(pk=row.pk).update(**values)


def _locked_row(key: Key) -> OutcomeCount:
    bucket, operation, kind, result = key
    rows = OutcomeCount.objects.select_for_update()
    return rows.get_or_create(
        bucket_start=bucket, operation=operation, launch_kind=kind, result=result
    )[0]


@transaction.atomic
def record_engine_error(call: str) -> None:
    """Count a failed engine call; `call` is the method of the runtime."""
    for bucket in (bucket_start(clock.now()), ALL_TIME):
        row = _locked_row((bucket, "engine_error", "", call))
        OutcomeCount.objects.filter(pk=row.pk).update(count=F("count") + 1)


def counts_since(start: datetime) -> list[OutcomeCount]:
    return list(OutcomeCount.objects.filter(bucket_start__gte=start).order_by("bucket_start"))


def all_time() -> list[OutcomeCount]:
    return list(
        OutcomeCount.objects.filter(bucket_start=ALL_TIME).order_by(
            "operation", "launch_kind", "result"
        )
    )


def prune() -> None:
    """Delete counts past their retention."""
    OutcomeCount.objects.filter(bucket_start__lt=clock.now() - RETENTION).exclude(
        bucket_start=ALL_TIME
    ).delete()


def sum_histograms(rows: Iterable[Any]) -> Histogram:
    total = Histogram()
    for row in rows:
        total.merge(row)
    return total
