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
from sandboxes.models import FAILURES, Event, Sandbox, Site, Tally
from sandboxes.models.outcome_count import FOREVER

SLOT = timedelta(minutes=5)
KEPT = timedelta(days=8)
SETTLED = timedelta(seconds=15)
"""No transaction that writes events takes longer, so none with a lower number is still to come."""
AT_ONCE = 2000
PARTS = 10
"""So many times at most in one sweep: all of a long past, when it is counted for the first time."""
BOUNDS = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 120, 300, 600)
"""Of the buckets, in seconds."""
KINDS = ("running", "ending", "destroyed", "failed")

Key = tuple[datetime, str, str, str]


@dataclass
class Sum:
    """Outcomes of one kind, added up."""

    count: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += max(0.0, seconds)
        self.buckets[bisect_left(BOUNDS, seconds)] += 1

    def merge(self, other: Sum | Tally) -> None:
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
    edges = [0.0, *BOUNDS, BOUNDS[-1]]
    for number, count in enumerate(buckets):
        if below + count >= wanted:
            low, high = edges[number], edges[number + 1]
            return low + (high - low) * (wanted - below) / count
        below += count
    return BOUNDS[-1]


def count_events() -> None:
    """Count what the journal says since the last time; the rest of very much the next time."""
    for _ in range(PARTS):
        if not _count_some():
            return


@transaction.atomic
def _count_some() -> bool:
    """Whether there may be more to count."""
    done = Site.current().tallied_event
    new = Event.objects.filter(pk__gt=done)
    unsettled = new.filter(at__gt=clock.now() - SETTLED).aggregate(pk=Min("pk"))["pk"]
    settled = new.filter(pk__lt=unsettled) if unsettled else new
    events = list(settled.select_related("sandbox").defer("sandbox__secrets")[:AT_ONCE])
    if not events:
        return False
    moved = Site.objects.filter(pk=1, tallied_event=done).update(tallied_event=events[-1].pk)
    if moved:
        _keep(_outcomes([event for event in events if event.kind in KINDS]))
    return bool(moved) and len(events) == AT_ONCE


def _outcomes(events: list[Event]) -> Iterable[tuple[Key, float]]:
    ends = {"destroyed", "failed"}
    removed = [event.sandbox_id for event in events if event.kind in ends]
    began = dict(
        Event.objects.filter(sandbox__in=removed, kind="ending").values_list("sandbox", "at")
    )
    for event in events:
        sandbox = event.sandbox
        slot = slot_of(event.at)
        start = "warm" if sandbox.warm else "cold"
        if event.kind == "running":
            yield (slot, "launch", start, "ready"), float(event.data.get("seconds", 0))
        elif event.kind in ends:
            took = event.at - began.get(event.sandbox_id, event.at)
            result = "retried" if sandbox.removal_attempts else "removed"
            yield (slot, "destroy", start, result), took.total_seconds()
        elif _never_ran(sandbox):
            result = "failed" if event.data.get("reason") in FAILURES else "cancelled"
            waited = event.at - sandbox.created_at
            yield (slot, "launch", start, result), waited.total_seconds()


def _never_ran(sandbox: Sandbox) -> bool:
    """Somebody asked for it and got nothing; what was made for the pool alone doesn't count."""
    return sandbox.started_at is None and not (sandbox.warm and sandbox.owner_id is None)


def slot_of(at: datetime) -> datetime:
    return at - (at - FOREVER) % SLOT


def _keep(outcomes: Iterable[tuple[Key, float]]) -> None:
    sums: dict[Key, Sum] = defaultdict(Sum)
    for (slot, *what), seconds in outcomes:
        for when in (slot, FOREVER):
            sums[(when, *what)].add(seconds)  # type: ignore[index]
    for key, more in sums.items():
        row = _row(key)
        total = Sum(row.count, row.seconds, row.buckets or Sum().buckets)
        total.merge(more)
        values = {"count": total.count, "seconds": total.seconds, "buckets": total.buckets}
        Tally.objects.filter(pk=row.pk).update(**values)


def _row(key: Key) -> Tally:
    slot, act, start, result = key
    rows = Tally.objects.select_for_update()
    return rows.get_or_create(slot=slot, act=act, start=start, result=result)[0]


@transaction.atomic
def note_engine_error(call: str) -> None:
    """The engine could not be reached, or refused: `call` is the runtime's verb."""
    for slot in (slot_of(clock.now()), FOREVER):
        row = _row((slot, "engine_error", "", call))
        Tally.objects.filter(pk=row.pk).update(count=F("count") + 1)


def since(moment: datetime) -> list[Tally]:
    return list(Tally.objects.filter(slot__gte=moment).order_by("slot"))


def ever() -> list[Tally]:
    return list(Tally.objects.filter(slot=FOREVER).order_by("act", "start", "result"))


def prune() -> None:
    """Forget slots that nobody asks for any more."""
    Tally.objects.filter(slot__lt=clock.now() - KEPT).exclude(slot=FOREVER).delete()


def added_up(rows: Iterable[Any]) -> Sum:
    total = Sum()
    for row in rows:
        total.merge(row)
    return total
