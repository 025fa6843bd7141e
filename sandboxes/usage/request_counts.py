"""The worker's part of a sample: how many requests a sandbox was sent, by what its log tells.

The row is the queue here, too: a sample of a sandbox that was used says nothing of requests until
they are counted, and each sweep asks for what still waits.
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
    """The last of these samples of each sandbox that has one, by its public id."""
    names = {row.pk: row.public_id for row in rows}
    own = among.filter(sandbox=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    keys = Sandbox.objects.filter(pk__in=names).annotate(newest=Subquery(own)).values("newest")
    return {names[one.sandbox_id]: one for one in UsageSample.objects.filter(pk__in=keys)}


def initial_count(row: Sandbox) -> LineCount | None:
    """How requests to it are counted, from none on; None: its blueprint doesn't say."""
    blueprint = blueprints.available().get(row.blueprint)
    return blueprint.requests if blueprint else None


def count_requests() -> None:
    """Complete the newest samples. What the engine does not tell now waits for the next sweep."""
    rows = {row.public_id: row for row in Sandbox.objects.running()}
    last = latest_samples(rows.values(), UsageSample.objects.all())
    waiting = {name: one for name, one in last.items() if one.requests is None}
    counted_before = UsageSample.objects.filter(requests__isnull=False)
    known = latest_samples([rows[name] for name in waiting], counted_before)
    so_far = {name: c for name in waiting if (c := _resume_count(rows[name], known.get(name)))}
    try:
        counts = get_runtime().count_lines(so_far)
    except RuntimeFailure as error:
        log.warning("requests_not_counted", error=str(error))
        return
    for name, count in counts.items():
        waiting[name].requests, waiting[name].log_read_to = count.lines, count.read_to
    counted = [waiting[name] for name in counts]
    UsageSample.objects.bulk_update(counted, ["requests", "log_read_to"])


def _resume_count(row: Sandbox, known: UsageSample | None) -> LineCount | None:
    """Its requests as they were last counted."""
    count = initial_count(row)
    if count is None or known is None or known.requests is None:
        return count
    return replace(count, lines=known.requests, read_to=known.log_read_to)
