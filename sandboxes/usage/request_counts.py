"""Count requests to sandboxes from their logs, in a worker.

The rows are the queue: the sample of a sandbox that was used has no request count until a worker
adds it, and each sweep sends a task for samples that still wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import structlog
from django.db.models import OuterRef, QuerySet, Subquery

from sandboxes import blueprints
from sandboxes.models import Sandbox, UsageSample
from sandboxes.runtime import LineCount, RuntimeFailure, get_runtime

log = structlog.get_logger(__name__)


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
    rows = {row.public_id: row for row in Sandbox.objects.running()}
    latest = latest_samples(rows.values(), UsageSample.objects.all())
    waiting = {name: sample for name, sample in latest.items() if sample.requests is None}
    counted = UsageSample.objects.filter(requests__isnull=False)
    previous = latest_samples([rows[name] for name in waiting], counted)
    starts = {name: c for name in waiting if (c := _resume_count(rows[name], previous.get(name)))}
    try:
        counts = get_runtime().count_lines(starts)
    except RuntimeFailure as error:
        log.warning("requests_not_counted", error=str(error))
        return
    for name, count in counts.items():
        waiting[name].requests, waiting[name].log_cursor = count.lines, count.read_to
    UsageSample.objects.bulk_update([waiting[name] for name in counts], ["requests", "log_cursor"])


def _resume_count(row: Sandbox, previous: UsageSample | None) -> LineCount | None:
    """Return the request count of the previous sample, to continue from."""
    count = initial_count(row)
    if count is None or previous is None or previous.requests is None:
        return count
    return replace(count, lines=previous.requests, read_to=previous.log_cursor)
