"""Leases: which worker may work on a sandbox, and until when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sandboxes.lib import clock
from sandboxes.models import Sandbox, State
from sandboxes.models.runtime_settings import config

LEASE_DURATION = timedelta(seconds=max(30, 3 * config.SANDBOX_ENGINE_TIMEOUT_SECONDS))
"""How long a worker may be silent before another takes over: no shorter than any engine call,
the slowest of which, a removal, has three times the usual time limit."""


def acquire_lease(sandbox: Sandbox, states: Iterable[str]) -> bool:
    """Lease it for work that leaves its state alone; what was judged of it before is void.

    False: another has it, or had it when this row was read or since, and may have done that work.
    """
    now, attempt = clock.now(), sandbox.attempt + 1
    as_read = {"attempt": sandbox.attempt, "lease_until": sandbox.lease_until}
    rows = Sandbox.objects.unleased(now).filter(pk=sandbox.pk, **as_read)
    held = (
        rows.filter(state__in=list(states)).update(
            lease_until=now + LEASE_DURATION, attempt=attempt
        )
        == 1
    )
    if held:
        sandbox.attempt = attempt
    return held


def renew_lease(sandbox: Sandbox, until: datetime | None = None, **values: Any) -> bool:
    """Still busy with it: prolong the lease, or hold everybody off until a later try.

    False: it was ended or taken over meanwhile.
    """
    held = Sandbox.objects.filter(pk=sandbox.pk, state=sandbox.state, attempt=sandbox.attempt)
    return held.update(lease_until=until or clock.now() + LEASE_DURATION, **values) == 1


def release_lease(
    sandbox: Sandbox, state: State, until: datetime | None = None, **values: Any
) -> bool:
    """Give the lease back, or hold everybody off until a later try.

    False: it left the state in which it was held, or was taken over.
    """
    held = Sandbox.objects.filter(pk=sandbox.pk, state=state, attempt=sandbox.attempt)
    return held.update(lease_until=until, **values) == 1


def clear_lease(sandbox: Sandbox, state: State) -> bool:
    """Let the next worker take it now, whoever holds it or holds everybody off.

    False: it is in another state.
    """
    return Sandbox.objects.filter(pk=sandbox.pk, state=state).update(lease_until=None) == 1
