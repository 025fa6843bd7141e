"""The worker's side of the warm pool: retire what is stale, make what is missing.

One sandbox is made at a time and only while no person waits for one, so that the pool never stands
in anybody's way. Everything here may be killed anywhere: half-made ones are ended by the reaper.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import structlog
from django.db import transaction

from sandboxes import blueprints
from sandboxes.core import factory, launch_queue, lifecycle
from sandboxes.lib import clock
from sandboxes.models import EndReason, Pool, Sandbox, Site, State
from sandboxes.pool import policy
from sandboxes.runtime import get_runtime
from sandboxes.worker import provisioning, teardown

log = structlog.get_logger(__name__)

MIN_BACKOFF = timedelta(seconds=30)
MAX_BACKOFF = timedelta(minutes=10)
MAX_PER_RUN = 100
"""Should what is made turn stale at once, the next sweep is early enough to go on."""


def reconcile_pools() -> Iterator[Sandbox]:
    """Bring the pool to what is wanted of it; gives each sandbox that came into it."""
    for unfit in _retire():
        teardown.tear_down(unfit)
    for _ in range(MAX_PER_RUN):
        if (row := _start_one()) is None:
            return
        provisioning.provision(row)
        row.refresh_from_db()
        _record_outcome(row)
        if row.state != State.POOLED:
            return
        yield row


@transaction.atomic
def _retire() -> list[Sandbox]:
    Site.locked()
    unfit = [entry for need in policy.plan_pools() for entry in need.retire]
    return [row for row, why in unfit if lifecycle.begin_destroy(row, EndReason.RETIRED, why)]


@transaction.atomic
def _start_one() -> Sandbox | None:
    """The row of one that is missing, if nothing else is to be done first."""
    Site.locked()
    being_made = Sandbox.objects.for_pool().exclude(state=State.POOLED)
    if launch_queue.waiting_launches().exists() or being_made.exists():
        return None
    lacking = next((need.pool for need in policy.plan_pools() if need.missing), None)
    if lacking is None:
        return None
    blueprint = blueprints.load(lacking.blueprint)
    return lifecycle.create_pending(
        factory.new_sandbox(blueprint, warm=True, made_of=lacking.version), None
    )


def _record_outcome(row: Sandbox) -> None:
    """After a failure wait before the next try, ever longer."""
    known = Pool.objects.get(blueprint=row.blueprint)
    if row.state == State.POOLED:
        Pool.objects.filter(pk=known.pk).exclude(failures=0).update(failures=0, retry_at=None)
    elif row.end_reason == EndReason.PROVISION_FAILED:
        pause = min(MIN_BACKOFF * 2 ** min(known.failures, 10), MAX_BACKOFF)
        values = {"failures": known.failures + 1, "retry_at": clock.now() + pause}
        Pool.objects.filter(pk=known.pk).update(**values)
        log.warning("pool_pauses", blueprint=row.blueprint, error=row.end_message)


def refresh_versions() -> None:
    """Keep what sandboxes would be made of now. Raises RuntimeFailure."""
    known = blueprints.available()
    images = get_runtime().images(sorted({i for one in known.values() for i in one.images}))
    for row in policy.pools():
        blueprint = known.get(row.blueprint)
        now = policy.spec_version(blueprint, images) if blueprint else ""
        if row.pk is None or row.version != now:
            Pool.objects.update_or_create(blueprint=row.blueprint, defaults={"version": now})
