"""The launch queue: limited concurrency, and fairness between users."""

from __future__ import annotations

from collections import Counter

from django.db import transaction

from sandboxes.core import lifecycle
from sandboxes.core.leases import LEASE_DURATION
from sandboxes.lib import clock
from sandboxes.models import LAUNCHING_STATES, LaunchLock, Sandbox, State
from sandboxes.models.abstract.claims import is_due
from sandboxes.models.sandbox import SandboxQuerySet


@transaction.atomic
def claim_next_launch(at_most: int) -> Sandbox | None:
    """Start provisioning the next launch, unless `at_most` launches are being provisioned.

    The next launch is that of the user with the fewest launches being provisioned, and of these the
    oldest, so that many launches of one user don't delay the first of another. Sandboxes for the
    pool don't queue.
    """
    LaunchLock.acquire()
    now = clock.now()
    provisioning = waiting_launches().filter(state=State.PROVISIONING, leased_until__isnull=False)
    provisioning = provisioning.exclude(is_due("leased_until", now, LEASE_DURATION))
    running: Counter[int | None] = Counter(provisioning.values_list("owner", flat=True))
    if running.total() >= at_most:
        return None
    waiting = waiting_launches().unleased(now, LEASE_DURATION)
    turns = sorted(waiting, key=lambda row: (running[row.owner_id], row.created_at, row.pk))
    return next((row for row in turns if lifecycle.start_provisioning(row)), None)


def waiting_launches() -> SandboxQuerySet:
    """Return launches that are pending or being provisioned."""
    return Sandbox.objects.requested().filter(state__in=LAUNCHING_STATES)
