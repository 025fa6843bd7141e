"""Count requests to sandboxes from their logs, in a worker.

The rows are the queue: the sample of a sandbox that was used has no request count until a worker
adds it, and each sweep sends a task for samples that still wait.
"""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import structlog
from django.db.models import OuterRef, QuerySet, Subquery

from sandboxes import blueprints
from sandboxes.models import Engine, Sandbox, UsageSample
from sandboxes.runtime import LineCount, call_engines, get_runtime

log = structlog.get_logger(__name__)

COUNT_SECONDS = 60.0
"""How long each of several engines may take to return its logs."""


def latest_samples(rows: Iterable[Sandbox], among: QuerySet[UsageSample]) -> dict[str, UsageSample]:
    """Return the latest of these samples of each sandbox, by its public id."""
    names = {row.pk: row.public_id for row in rows}
    latest = among.filter(sandbox=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    keys = Sandbox.objects.filter(pk__in=names).annotate(latest=Subquery(latest)).values("latest")
    return {names[row.sandbox_id]: row for row in UsageSample.objects.filter(pk__in=keys)}


def initial_count(row: Sandbox) -> LineCount | None:
    """Return a request count of zero; None if the blueprint defines no request log."""
    blueprint = blueprints.find_for_sandbox(row)
    return blueprint.requests if blueprint else None


def count_requests() -> None:
    """Add request counts to the latest samples; the next sweep retries if the engine fails."""
    running = Sandbox.objects.running().select_related("engine")
    rows = {row.public_id: row for row in running}
    latest = latest_samples(rows.values(), UsageSample.objects.all())
    waiting = {name: sample for name, sample in latest.items() if sample.requests is None}
    counted = UsageSample.objects.filter(requests__isnull=False)
    previous = latest_samples([rows[name] for name in waiting], counted)
    starts = {name: c for name in waiting if (c := _resume_count(rows[name], previous.get(name)))}
    by_engine: dict[Engine, dict[str, LineCount]] = defaultdict(dict)
    for name, start in starts.items():
        by_engine[rows[name].engine][name] = start
    calls = {
        engine.name: partial(get_runtime(engine.connection).count_lines, own)
        for engine, own in by_engine.items()
    }
    results, failures = call_engines(calls, COUNT_SECONDS)
    for error in failures.values():
        log.warning("requests_not_counted", error=str(error))
    counts = ChainMap(*results.values())
    for name, count in counts.items():
        waiting[name].requests, waiting[name].log_cursor = count.lines, count.read_to
    UsageSample.objects.bulk_update([waiting[name] for name in counts], ["requests", "log_cursor"])


def _resume_count(row: Sandbox, previous: UsageSample | None) -> LineCount | None:
    """Return the request count of the previous sample, to continue from."""
    count = initial_count(row)
    if count is None or previous is None or previous.requests is None:
        return count
    return replace(count, lines=previous.requests, read_to=previous.log_cursor)
