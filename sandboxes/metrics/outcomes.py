"""Launches and removals, counted from the journal by the sweep.

Each event is counted once, whatever sweeps overlap: `Site.tallied_event` is the last that was, and
moves in the transaction that counts. Reading the counts costs the same however long the past is.
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
from sandboxes.models import FAILURE_REASONS, Event, OutcomeCount, Sandbox, Site
from sandboxes.models.outcome_count import ALL_TIME

BUCKET_SPAN = timedelta(minutes=5)
RETENTION = timedelta(days=8)
SETTLE_DELAY = timedelta(seconds=15)
"""No transaction that writes events takes longer, so none with a lower number is still to come."""
BATCH_SIZE = 2000
MAX_BATCHES = 10
"""So many times at most in one sweep: all of a long past, when it is counted for the first time."""
BUCKET_BOUNDS = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 120, 300, 600)
"""Of the buckets, in seconds."""
COUNTED_EVENTS = ("running", "ending", "destroyed", "failed")

Key = tuple[datetime, str, str, str]


@dataclass
class Histogram:
    """Outcomes of one kind, added up."""

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
        """About so many seconds that share (0 to 1) took at most; None of nothing."""
        return quantile(self.buckets, share)


def quantile(buckets: Sequence[int], share: float) -> float | None:
    """Interpolated inside the bucket that holds it, as Prometheus does."""
    wanted, below = sum(buckets) * share, 0
    if not wanted:
        return None
    edges = [0.0, *BUCKET_BOUNDS, BUCKET_BOUNDS[-1]]
    for number, count in enumerate(buckets):
        if below + count >= wanted:
            low, high = edges[number], edges[number + 1]
            return low + (high - low) * (wanted - below) / count
        below += count
    return BUCKET_BOUNDS[-1]


def aggregate_events() -> None:
    """Count what the journal says since the last time; the rest of very much the next time."""
    for _ in range(MAX_BATCHES):
        if not _aggregate_batch():
            return


@transaction.atomic
def _aggregate_batch() -> bool:
    """Whether there may be more to count."""
    done = Site.current().tallied_event
    new = Event.objects.filter(pk__gt=done)
    unsettled = new.filter(at__gt=clock.now() - SETTLE_DELAY).aggregate(pk=Min("pk"))["pk"]
    settled = new.filter(pk__lt=unsettled) if unsettled else new
    events = list(settled.select_related("sandbox").defer("sandbox__secrets")[:BATCH_SIZE])
    if not events:
        return False
    moved = Site.objects.filter(pk=1, tallied_event=done).update(tallied_event=events[-1].pk)
    if moved:
        _save(_outcomes([event for event in events if event.kind in COUNTED_EVENTS]))
    return bool(moved) and len(events) == BATCH_SIZE


def _outcomes(events: list[Event]) -> Iterable[tuple[Key, float]]:
    ends = {"destroyed", "failed"}
    removed = [event.sandbox_id for event in events if event.kind in ends]
    began = dict(
        Event.objects.filter(sandbox__in=removed, kind="ending").values_list("sandbox", "at")
    )
    for event in events:
        sandbox = event.sandbox
        slot = bucket_start(event.at)
        start = "warm" if sandbox.warm else "cold"
        if event.kind == "running":
            yield (slot, "launch", start, "ready"), float(event.data.get("seconds", 0))
        elif event.kind in ends:
            took = event.at - began.get(event.sandbox_id, event.at)
            result = "retried" if sandbox.removal_attempts else "removed"
            yield (slot, "destroy", start, result), took.total_seconds()
        elif _launch_failed(sandbox):
            result = "failed" if event.data.get("reason") in FAILURE_REASONS else "cancelled"
            waited = event.at - sandbox.created_at
            yield (slot, "launch", start, result), waited.total_seconds()


def _launch_failed(sandbox: Sandbox) -> bool:
    """Somebody asked for it and got nothing; what was made for the pool alone doesn't count."""
    return sandbox.started_at is None and not (sandbox.warm and sandbox.owner_id is None)


def bucket_start(at: datetime) -> datetime:
    return at - (at - ALL_TIME) % BUCKET_SPAN


def _save(outcomes: Iterable[tuple[Key, float]]) -> None:
    sums: dict[Key, Histogram] = defaultdict(Histogram)
    for (slot, *what), seconds in outcomes:
        for when in (slot, ALL_TIME):
            sums[(when, *what)].add(seconds)  # type: ignore[index]
    for key, more in sums.items():
        row = _locked_row(key)
        total = Histogram(row.count, row.seconds, row.buckets or Histogram().buckets)
        total.merge(more)
        values = {"count": total.count, "seconds": total.seconds, "buckets": total.buckets}
        OutcomeCount.objects.filter(pk=row.pk).update(**values)


def _locked_row(key: Key) -> OutcomeCount:
    slot, act, start, result = key
    rows = OutcomeCount.objects.select_for_update()
    return rows.get_or_create(slot=slot, act=act, start=start, result=result)[0]


@transaction.atomic
def record_engine_error(call: str) -> None:
    """The engine could not be reached, or refused: `call` is the runtime's verb."""
    for slot in (bucket_start(clock.now()), ALL_TIME):
        row = _locked_row((slot, "engine_error", "", call))
        OutcomeCount.objects.filter(pk=row.pk).update(count=F("count") + 1)


def counts_since(moment: datetime) -> list[OutcomeCount]:
    return list(OutcomeCount.objects.filter(slot__gte=moment).order_by("slot"))


def all_time() -> list[OutcomeCount]:
    return list(OutcomeCount.objects.filter(slot=ALL_TIME).order_by("act", "start", "result"))


def prune() -> None:
    """Forget slots that nobody asks for any more."""
    OutcomeCount.objects.filter(slot__lt=clock.now() - RETENTION).exclude(slot=ALL_TIME).delete()


def sum_histograms(rows: Iterable[Any]) -> Histogram:
    total = Histogram()
    for row in rows:
        total.merge(row)
    return total
