"""What a sandbox consumed over its life, from the samples that sweeps take of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from sandboxes.models import Sandbox, UsageSample

Number = float | None


@dataclass(frozen=True)
class UsagePoint:
    """One sample, with what can be told only beside the one before: None without it."""

    at: datetime
    memory_mb: float
    cpus: float | None
    """Load since then, in CPUs."""
    disk_mb: float | None
    received_bytes: int
    sent_bytes: int
    traffic_kb: float | None
    """KB received and sent since then, for each minute."""
    requests: int | None
    """Since launch; None where they are not counted."""
    requests_per_minute: float | None
    """Since then; in the first sample of a sandbox, since it ran or for a minute."""


def to_series(rows: Sequence[UsageSample], began: datetime | None) -> list[UsagePoint]:
    """The samples, oldest first, of a sandbox that has run since `began`."""
    before = [None, *rows[:-1]] if rows else []
    return [_usage_point(row, last, began) for row, last in zip(rows, before, strict=True)]


def _usage_point(row: UsageSample, last: UsageSample | None, began: datetime | None) -> UsagePoint:
    return UsagePoint(
        at=row.at,
        memory_mb=row.memory_mb,
        cpus=_cpu_load(row, last),
        disk_mb=row.disk_mb,
        received_bytes=row.received_bytes,
        sent_bytes=row.sent_bytes,
        traffic_kb=_traffic(row, last),
        requests=row.requests,
        requests_per_minute=_request_rate(row, last, began),
    )


def _cpu_load(row: UsageSample, last: UsageSample | None) -> Number:
    if last is None:
        return None
    seconds, used = (row.at - last.at).total_seconds(), row.cpu_seconds - last.cpu_seconds
    # A container that was started again counts from zero.
    return round(used / seconds, 3) if seconds > 0 and used >= 0 else None


def _traffic(row: UsageSample, last: UsageSample | None) -> Number:
    if last is None or row.at <= last.at:
        return None
    minutes = (row.at - last.at).total_seconds() / 60
    received = counter_total([last.received_bytes, row.received_bytes]) - last.received_bytes
    sent = counter_total([last.sent_bytes, row.sent_bytes]) - last.sent_bytes
    return round((received + sent) / 1000 / minutes, 2)


def _request_rate(row: UsageSample, last: UsageSample | None, began: datetime | None) -> Number:
    since, before = (last.at, last.requests) if last else (began, 0)
    if row.requests is None or before is None or since is None or row.at <= since:
        return None
    minutes = (row.at - since).total_seconds() / 60
    # A sweep may come a moment after it began to run; the first requests are no flood then.
    return round((row.requests - before) / (minutes if last else max(minutes, 1)), 2)


def counter_total(counts: Sequence[int]) -> int:
    """What a counter has counted in all, though it began at zero again with its engine."""
    more = (new - old if new >= old else new for old, new in pairwise(counts))
    return (counts[0] if counts else 0) + sum(more)


def peak_usage(sandbox: Sandbox) -> dict[str, Number] | None:
    """The most that any sample shows, traffic and requests in all; None: it was never measured."""
    rows = list(sandbox.samples.order_by("pk"))
    return peak(to_series(rows, sandbox.started_at)) if rows else None


def peak(life: Sequence[UsagePoint]) -> dict[str, Number]:
    return {
        "memory_mb": _max(moment.memory_mb for moment in life),
        "cpus": _max(moment.cpus for moment in life),
        "disk_mb": _max(moment.disk_mb for moment in life),
        "received_bytes": counter_total([moment.received_bytes for moment in life]),
        "sent_bytes": counter_total([moment.sent_bytes for moment in life]),
        "requests": _max(moment.requests for moment in life),
        "requests_per_minute": _max(moment.requests_per_minute for moment in life),
    }


def _max(values: Iterable[Number]) -> Number:
    return max((value for value in values if value is not None), default=None)
