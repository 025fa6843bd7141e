"""Record resource usage and request counts of running sandboxes on each sweep."""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import partial

from sandboxes.lib import clock, queue
from sandboxes.models import Engine, Sandbox, State, UsageSample
from sandboxes.runtime import RuntimeFailure, SandboxFacts, Usage, call_engines, get_runtime
from sandboxes.usage import request_counts
from sandboxes.usage import tasks as usage_tasks

SAMPLE_INTERVAL = timedelta(seconds=20)
"""Minimum time between two samples of a sandbox, regardless of the sweep interval."""

LOG_DELAY = timedelta(seconds=5)
"""How long after a request its line may appear in the log."""


def sample(rows: list[Sandbox], observed: Mapping[str, SandboxFacts]) -> dict[str, RuntimeFailure]:
    """Store the resource usage of running sandboxes; return the failures of engines.

    A worker counts the requests to sandboxes that were used: each log takes an engine call.
    """
    running = [row for row in rows if row.state == State.RUNNING and row.public_id in observed]
    last = request_counts.latest_samples(running, UsageSample.objects.all())
    due = {row.public_id: row for row in running if _is_due(last.get(row.public_id))}
    usage, failures = _usage(due.values())
    samples = [
        _new_sample(due[name], used, observed[name], last.get(name)) for name, used in usage.items()
    ]
    UsageSample.objects.bulk_create(samples)
    if any(s.requests is None and request_counts.initial_count(s.sandbox) for s in samples):
        queue.enqueue(usage_tasks.count_requests)
    return failures


def _usage(rows: Iterable[Sandbox]) -> tuple[dict[str, Usage], dict[str, RuntimeFailure]]:
    """Return the usage of these sandboxes, and the failures of their engines."""
    names: dict[Engine, list[str]] = defaultdict(list)
    for row in rows:
        names[row.engine].append(row.public_id)
    calls = {
        engine.name: partial(get_runtime(engine.connection).usage, own)
        for engine, own in names.items()
    }
    results, failures = call_engines(calls)
    return dict(ChainMap(*results.values())), failures


def _is_due(last: UsageSample | None) -> bool:
    now = clock.now()
    return last is None or not now - SAMPLE_INTERVAL < last.at <= now


def _new_sample(
    row: Sandbox, used: Usage, facts: SandboxFacts, last: UsageSample | None
) -> UsageSample:
    requests, read_to = (last.requests, last.log_cursor) if last else (0, "")
    counted = request_counts.initial_count(row) and not _was_used(row, last)
    return UsageSample(
        sandbox=row,
        at=clock.now(),
        memory_mb=used.memory_mb,
        cpu_seconds=used.cpu_seconds,
        disk_mb=used.disk_mb if used.disk_mb is not None else facts.disk_mb,
        received_bytes=used.received_bytes,
        sent_bytes=used.sent_bytes,
        requests=requests if counted else None,
        log_cursor=read_to if counted else "",
    )


def _was_used(row: Sandbox, last: UsageSample | None) -> bool:
    """Return whether this sweep or an earlier one saw traffic since the last sample.

    The sample after that counts again: the log had perhaps no line of the last requests yet.
    """
    assert row.started_at and row.last_activity_at
    since = max(last.at - LOG_DELAY, row.started_at) if last else row.started_at
    return row.last_activity_at > since
