"""Whose turn it is: launches are made a few at a time, and fairly between people."""

from __future__ import annotations

from collections import Counter

from django.db import transaction

from sandboxes.core import lifecycle
from sandboxes.lib import clock
from sandboxes.models import LaunchLock, Sandbox, State
from sandboxes.models.sandbox import SandboxQuerySet


@transaction.atomic
def claim_next_launch(at_most: int) -> Sandbox | None:
    """Take the request whose turn it is, unless `at_most` are being made already.

    It is the turn of whoever has the fewest under way, and then of who has waited the longest, so
    that many requests of one don't hold up the first of another. The pool takes no turns.
    """
    LaunchLock.acquire()
    now = clock.now()
    being_made = waiting_launches().filter(state=State.PROVISIONING, leased_until__gt=now)
    under_way: Counter[int | None] = Counter(being_made.values_list("owner", flat=True))
    if under_way.total() >= at_most:
        return None
    waiting = waiting_launches().unleased(now)
    turns = sorted(waiting, key=lambda row: (under_way[row.owner_id], row.created_at, row.pk))
    return next((row for row in turns if lifecycle.start_provisioning(row)), None)


def waiting_launches() -> SandboxQuerySet:
    """What people asked for and do not have yet."""
    waits = (State.PENDING, State.PROVISIONING)
    return Sandbox.objects.requested().filter(state__in=waits)
