"""Reconcile the warm pool in a worker: retire stale sandboxes, provision missing ones.

The pool provisions one sandbox at a time, and only while no launch waits, so it never delays one.
Every step is safe to interrupt: the reaper ends unfinished sandboxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import structlog
from django.db import transaction

from sandboxes import blueprints
from sandboxes.core import capacity, factory, launch_queue, lifecycle, placement
from sandboxes.core.fleet import Fleet
from sandboxes.lib import clock
from sandboxes.lib.backoff import Backoff
from sandboxes.models import EndReason, LaunchLock, Pool, Sandbox, State
from sandboxes.models.abstract.claims import LONGEST_LEASE
from sandboxes.models.runtime_settings import config
from sandboxes.pool import policy
from sandboxes.runtime import RuntimeFailure
from sandboxes.worker import provisioning, teardown
from sandboxes.worker.version_images import record_missing_images

log = structlog.get_logger(__name__)

RETRY = Backoff(first=timedelta(seconds=30), longest=LONGEST_LEASE)
MAX_PER_RUN = 100
"""Sandboxes provisioned per task. Limits the loop if new ones become stale at once."""


def reconcile_pools() -> Iterator[Sandbox]:
    """Bring every pool to its target size; yield each new pooled sandbox."""
    _notice_changes()
    for retired in _retire():
        teardown.tear_down(retired)
    for _ in range(MAX_PER_RUN):
        if (row := _start_one()) is None:
            return
        provisioning.provision(row)
        row.refresh_from_db()
        _record_outcome(row)
        if row.state != State.POOLED:
            return
        yield row


def _notice_changes() -> None:
    """Check blueprints that were changed since the last sweep, such as by an activation now."""
    config.reload()
    if any(pool.version and not policy.is_current(pool) for pool in policy.pools()):
        try:
            refresh_versions()
        except RuntimeFailure as error:
            log.warning("pool_not_checked", error=str(error))


@transaction.atomic
def _retire() -> list[Sandbox]:
    LaunchLock.acquire()
    stale = [entry for plan in policy.plan_pools(Fleet.read()) for entry in plan.retire]
    return [row for row, reason in stale if lifecycle.begin_destroy(row, EndReason.RETIRED, reason)]


@transaction.atomic
def _start_one() -> Sandbox | None:
    """Insert the row of a missing sandbox, unless a launch or another pooled one comes first."""
    LaunchLock.acquire()
    unfinished = Sandbox.objects.for_pool().exclude(state=State.POOLED)
    if launch_queue.waiting_launches().exists() or unfinished.exists():
        return None
    fleet = Fleet.read()
    pool = next((plan.pool for plan in policy.plan_pools(fleet) if plan.missing), None)
    if pool is None:
        return None
    blueprint = blueprints.load(pool.blueprint)
    engines = placement.candidates(blueprint, capacity.free_capacity(fleet))
    if not engines:
        return None
    chosen = {"engine": engines[0], "from_pool": True, "spec_version": pool.version}
    row = lifecycle.create_pending(factory.new_sandbox(blueprint, **chosen), None)
    placement.record_use(fleet, row)
    return row


def _record_outcome(row: Sandbox) -> None:
    """Back off exponentially after failures; reset after a success."""
    pool = Pool.objects.get(blueprint=row.blueprint)
    if row.state == State.POOLED:
        Pool.objects.filter(pk=pool.pk).exclude(failures=0).update(failures=0, retry_at=None)
    elif row.end_reason == EndReason.PROVISION_FAILED:
        failures = pool.failures + 1
        retry_at = clock.now() + RETRY.delay(failures)
        Pool.objects.filter(pk=pool.pk).update(failures=failures, retry_at=retry_at)
        log.warning("pool_backs_off", blueprint=row.blueprint, error=row.end_message)


def refresh_versions(fleet: Fleet | None = None) -> None:
    """Store the current version of each pool, and which versions lack images.

    Raises RuntimeFailure.
    """
    available = blueprints.available()
    names = {image for one in available.values() for image in one.image_references}
    images = record_missing_images(names, fleet)
    for pool in policy.pools():
        blueprint = available.get(pool.blueprint)
        version = policy.spec_version(blueprint, images) if blueprint else ""
        if pool.pk is None or pool.version != version:
            Pool.objects.update_or_create(blueprint=pool.blueprint, defaults={"version": version})
