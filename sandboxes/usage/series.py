"""Time series of the resource usage of a sandbox, computed from its samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from sandboxes.models import Sandbox, UsageSample

Number = float | None


@dataclass(frozen=True)
class UsagePoint:
    """A sample, with rates since the previous sample; None in the first one."""

    at: datetime
    memory_mb: float
    cpus: float | None
    """Load since the previous sample, in CPUs."""
    disk_mb: float | None
    received_bytes: int
    sent_bytes: int
    traffic_kb: float | None
    """KB received and sent per minute since the previous sample."""
    requests: int | None
    """Requests since launch; None if they aren't counted."""
    requests_per_minute: float | None
    """Rate since the previous sample; in the first one, since the start, or over one minute."""


def to_series(rows: Sequence[UsageSample], started_at: datetime | None) -> list[UsagePoint]:
    """Return the points of samples, oldest first, of a sandbox that has run since `started_at`."""
    previous = [None, *rows[:-1]] if rows else []
    return [_usage_point(row, last, started_at) for row, last in zip(rows, previous, strict=True)]


def _usage_point(
    row: UsageSample, last: UsageSample | None, started_at: datetime | None
) -> UsagePoint:
    return UsagePoint(
        at=row.at,
        memory_mb=row.memory_mb,
        cpus=_cpu_load(row, last),
        disk_mb=row.disk_mb,
        received_bytes=row.received_bytes,
        sent_bytes=row.sent_bytes,
        traffic_kb=_traffic(row, last),
        requests=row.requests,
        requests_per_minute=_request_rate(row, last, started_at),
    )


def _cpu_load(row: UsageSample, last: UsageSample | None) -> Number:
    if last is None:
        return None
    seconds, used = (row.at - last.at).total_seconds(), row.cpu_seconds - last.cpu_seconds
    # The counter of a restarted container begins at zero.
    return round(used / seconds, 3) if seconds > 0 and used >= 0 else None


def _traffic(row: UsageSample, last: UsageSample | None) -> Number:
    if last is None or row.at <= last.at:
        return None
    minutes = (row.at - last.at).total_seconds() / 60
    received = counter_total([last.received_bytes, row.received_bytes]) - last.received_bytes
    sent = counter_total([last.sent_bytes, row.sent_bytes]) - last.sent_bytes
    return round((received + sent) / 1000 / minutes, 2)


def _request_rate(
    row: UsageSample, last: UsageSample | None, started_at: datetime | None
) -> Number:
    since, before = (last.at, last.requests) if last else (started_at, 0)
    if row.requests is None or before is None or since is None or row.at <= since:
        return None
    minutes = (row.at - since).total_seconds() / 60
    # The first sweep may follow the start immediately, which would inflate the rate.
    return round((row.requests - before) / (minutes if last else max(minutes, 1)), 2)


def counter_total(counts: Sequence[int]) -> int:
    """Return the total of a counter that restarts at zero with its engine."""
    increases = (new - old if new >= old else new for old, new in pairwise(counts))
    return (counts[0] if counts else 0) + sum(increases)


def peak_usage(sandbox: Sandbox) -> dict[str, Number] | None:
    """Return peak values and totals of all samples of a sandbox; None if there are none."""
    rows = list(sandbox.samples.order_by("pk"))
    return peak(to_series(rows, sandbox.started_at)) if rows else None


def peak(points: Sequence[UsagePoint]) -> dict[str, Number]:
    """Return the peak values of points, and their total traffic."""
    return {
        "memory_mb": _max(point.memory_mb for point in points),
        "cpus": _max(point.cpus for point in points),
        "disk_mb": _max(point.disk_mb for point in points),
        "received_bytes": counter_total([point.received_bytes for point in points]),
        "sent_bytes": counter_total([point.sent_bytes for point in points]),
        "requests": _max(point.requests for point in points),
        "requests_per_minute": _max(point.requests_per_minute for point in points),
    }


def _max(values: Iterable[Number]) -> Number:
    return max((value for value in values if value is not None), default=None)
