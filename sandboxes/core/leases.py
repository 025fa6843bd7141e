"""Leases: which worker may work on a sandbox, and until when."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sandboxes.lib import clock
from sandboxes.models import Sandbox, State
from sandboxes.models.abstract.claims import LONGEST_LEASE
from sandboxes.models.runtime_settings import config

LEASE_DURATION = timedelta(seconds=max(30, 3 * config.SANDBOX_ENGINE_TIMEOUT_SECONDS))
"""How long a worker may be silent before another takes over.

It is not shorter than any engine call. The slowest is a removal, which may take three times the
usual time limit.
"""


def longest_lease(state: str) -> timedelta:
    """Return the longest lease that is given in this state; removals back off the longest."""
    return max(LEASE_DURATION, LONGEST_LEASE) if state == State.DESTROYING else LEASE_DURATION


def is_leased(sandbox: Sandbox, now: datetime) -> bool:
    """Return whether a worker has the lease."""
    return clock.is_ahead(sandbox.leased_until, now, longest_lease(sandbox.state))


def acquire_lease(sandbox: Sandbox, states: Collection[str]) -> bool:
    """Acquire the lease without changing the state.

    Increments `lease_token`, which invalidates decisions taken on an earlier read. Returns False if
    another worker has the lease, or has had it since this row was read and may have done the work.
    """
    now, lease_token = clock.now(), sandbox.lease_token + 1
    as_read = {"lease_token": sandbox.lease_token, "leased_until": sandbox.leased_until}
    longest = max(map(longest_lease, states))
    free = Sandbox.objects.unleased(now, longest).filter(state__in=states, **as_read)
    values = {"leased_until": now + LEASE_DURATION, "lease_token": lease_token}
    acquired = free.claim(sandbox.pk, **values)
    if acquired:
        sandbox.lease_token = lease_token
    return acquired


def renew_lease(sandbox: Sandbox, until: datetime | None = None, **values: Any) -> bool:
    """Extend the lease, by default by `LEASE_DURATION`, and save the values.

    Returns False if the sandbox was ended or taken over.
    """
    held = Sandbox.objects.filter(state=sandbox.state, lease_token=sandbox.lease_token)
    until = until or clock.now() + LEASE_DURATION
    return held.claim(sandbox.pk, leased_until=until, **values)


def release_lease(
    sandbox: Sandbox, state: State, until: datetime | None = None, **values: Any
) -> bool:
    """Release the lease, or block all workers until the next try, and save the values.

    Returns False if the sandbox has left the state in which the lease was acquired, or was taken
    over.
    """
    held = Sandbox.objects.filter(state=state, lease_token=sandbox.lease_token)
    return held.claim(sandbox.pk, leased_until=until, **values)


def clear_lease(sandbox: Sandbox, state: State) -> bool:
    """Clear the lease of any worker, so that the next one can start now.

    Returns False if the sandbox is in another state.
    """
    return Sandbox.objects.filter(state=state).claim(sandbox.pk, leased_until=None)
