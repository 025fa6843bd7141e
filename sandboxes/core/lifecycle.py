"""The states of a sandbox: the allowed arrows, and the only writer of `Sandbox.state`.

::

    admit ──▶ pending ──take──▶ provisioning ──run──▶ running
                 │                   │   └──pool──▶ pooled ──claim──▶ running
                 │                   │                │                  │
                 └───────────────── end ──────────────┴──────────────────┘
                                     ▼
                                destroying ──finish──▶ destroyed, or failed

Each arrow is a conditional UPDATE: no row touched means that somebody else was there first, which
is no error. The journal line is written in the same transaction, so the two can't disagree.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from django.db import transaction
from django.db.models import F
from django.dispatch import Signal

from sandboxes.lib import clock
from sandboxes.models import FAILURES, STANDING, EndReason, Event, Sandbox, State
from sandboxes.models.runtime_settings import settings

if TYPE_CHECKING:
    from django.contrib.auth.models import User

log = structlog.get_logger(__name__)

journalled = Signal()
"""Sent with each new `event`, in its transaction. A receiver that stumbles is only logged."""

LEASE = timedelta(seconds=max(30, 3 * settings.SANDBOX_ENGINE_TIMEOUT_SECONDS))
"""How long a worker may be silent before another takes over: no shorter than any engine call,
the slowest of which, a removal, has three times the usual time limit."""


def journal(
    sandbox: Sandbox, kind: str, message: str, *, actor: User | None = None, **data: Any
) -> Event:
    """Write one line of the sandbox's journal."""
    by = "portal" if actor is None else "owner" if actor.pk == sandbox.owner_id else "operator"
    log.info("journal", sandbox=sandbox.public_id, kind=kind, by=by, state=sandbox.state)
    event = Event.objects.create(
        sandbox=sandbox, at=clock.now(), kind=kind, actor=actor, by=by, message=message, data=data
    )
    journalled.send_robust(sender=Event, event=event)
    return event


def _move(
    sandbox: Sandbox, expected: Iterable[str], to: str, *, attempt: int | None = None, **values: Any
) -> bool:
    rows = Sandbox.objects.filter(pk=sandbox.pk, state__in=list(expected))
    if attempt is not None:
        rows = rows.filter(attempt=attempt)
    moved = rows.update(state=to, **values) == 1
    if moved:
        sandbox.refresh_from_db()
    return moved


def _requested(sandbox: Sandbox) -> str:
    wished = f"for {sandbox.ttl_minutes} minutes" if sandbox.owner_id else "for the pool"
    return f"A {sandbox.blueprint} sandbox was requested {wished}."


def admit(sandbox: Sandbox, actor: User | None) -> Sandbox:
    """(a) A request was granted: save the row as `pending`. The caller holds the limits' lock."""
    with transaction.atomic():
        sandbox.save(force_insert=True)
        journal(sandbox, "requested", _requested(sandbox), actor=actor)
    return sandbox


@transaction.atomic
def take(sandbox: Sandbox) -> bool:
    """(b) A worker takes it, or takes it over from a worker whose lease ran out."""
    now = clock.now()
    rows = Sandbox.objects.unleased(now).filter(pk=sandbox.pk)
    rows = rows.filter(state__in=(State.PENDING, State.PROVISIONING))
    begun: dict[str, Any] = {"state": State.PROVISIONING, "attempt": F("attempt") + 1, "steps": []}
    taken = rows.update(lease_until=now + LEASE, **begun) == 1
    if taken:
        sandbox.refresh_from_db()
        again = f" (attempt {sandbox.attempt})" if sandbox.attempt > 1 else ""
        journal(sandbox, "provisioning", f"Provisioning began{again}.")
    return taken


def _clocks(now: datetime, ttl_minutes: int) -> dict[str, datetime]:
    """What starts when it begins to run."""
    hard_cap_at = now + timedelta(minutes=settings.SANDBOX_HARD_CAP_MINUTES)
    return {
        "started_at": now,
        "last_activity_at": now,
        "expires_at": min(now + timedelta(minutes=ttl_minutes), hard_cap_at),
        "hard_cap_at": hard_cap_at,
    }


@transaction.atomic
def run(sandbox: Sandbox, addresses: dict[str, str], traffic_bytes: int) -> bool:
    """(c) Every check passed: its clocks start, or it goes into the pool that it was made for."""
    now, pooled = clock.now(), sandbox.is_stock
    clocks: dict[str, Any] = {} if pooled else _clocks(now, sandbox.ttl_minutes)
    moved = _move(
        sandbox,
        [State.PROVISIONING],
        State.POOLED if pooled else State.RUNNING,
        attempt=sandbox.attempt,
        addresses=addresses,
        traffic_bytes=traffic_bytes,
        lease_until=None,
        **clocks,
    )
    if moved:
        took = (now - sandbox.created_at).total_seconds()
        message = f"Ready after {took:.1f} s."
        journal(sandbox, str(sandbox.state), message, seconds=round(took, 2), warm=False)
    return moved


@transaction.atomic
def claim(sandbox: Sandbox, owner: User, ttl_minutes: int, **chosen: Any) -> bool:
    """(h) It leaves the pool and is the owner's from now on. The caller holds the limits' lock.

    False: it is not in the pool any more.
    """
    now = clock.now()
    minutes = (now - sandbox.created_at) // timedelta(minutes=1)
    clocks: dict[str, Any] = _clocks(now, ttl_minutes)
    moved = _move(
        sandbox,
        [State.POOLED],
        State.RUNNING,
        owner=owner,
        created_at=now,
        ttl_minutes=ttl_minutes,
        **clocks,
        **chosen,
    )
    if moved:
        journal(sandbox, "requested", _requested(sandbox), actor=owner)
        message = f"Ready at once: it was made {minutes} min ago, and waited in the pool."
        journal(sandbox, "running", message, seconds=0.0, warm=True)
    return moved


@transaction.atomic
def end(
    sandbox: Sandbox,
    reason: EndReason,
    message: str,
    *,
    actor: User | None = None,
    expected: Iterable[str] = STANDING,
    attempt: int | None = None,
    failure: dict[str, Any] | None = None,
) -> bool:
    """(d, e, f) It is to end, for this reason; its owner's place is free at once."""
    moved = _move(
        sandbox,
        expected,
        State.DESTROYING,
        attempt=attempt,
        end_reason=reason,
        end_message=message,
        failure=failure or {},
        slot=None,
        lease_until=None,
        reset_requested_at=None,
        funding_due_at=None,
    )
    if moved:
        journal(sandbox, "ending", message, actor=actor, reason=str(reason))
    return moved


def hold(sandbox: Sandbox, states: Iterable[str]) -> bool:
    """Lease it for work that leaves its state alone; what was judged of it before is void.

    False: another has it, or had it when this row was read or since, and may have done that work.
    """
    now, attempt = clock.now(), sandbox.attempt + 1
    as_read = {"attempt": sandbox.attempt, "lease_until": sandbox.lease_until}
    rows = Sandbox.objects.unleased(now).filter(pk=sandbox.pk, **as_read)
    held = rows.filter(state__in=list(states)).update(lease_until=now + LEASE, attempt=attempt) == 1
    if held:
        sandbox.attempt = attempt
    return held


def renew(sandbox: Sandbox, until: datetime | None = None, **values: Any) -> bool:
    """Still busy with it: prolong the lease, or hold everybody off until a later try.

    False: it was ended or taken over meanwhile.
    """
    held = Sandbox.objects.filter(pk=sandbox.pk, state=sandbox.state, attempt=sandbox.attempt)
    return held.update(lease_until=until or clock.now() + LEASE, **values) == 1


def release(sandbox: Sandbox, state: State, until: datetime | None = None, **values: Any) -> bool:
    """Give the lease back, or hold everybody off until a later try.

    False: it left the state in which it was held, or was taken over.
    """
    held = Sandbox.objects.filter(pk=sandbox.pk, state=state, attempt=sandbox.attempt)
    return held.update(lease_until=until, **values) == 1


def free(sandbox: Sandbox, state: State) -> bool:
    """Let the next worker take it now, whoever holds it or holds everybody off.

    False: it is in another state.
    """
    return Sandbox.objects.filter(pk=sandbox.pk, state=state).update(lease_until=None) == 1


@transaction.atomic
def finish(sandbox: Sandbox, peak: dict[str, Any] | None = None) -> bool:
    """(g) Nothing of it is left on the engine: its secrets are wiped."""
    last = State.FAILED if sandbox.end_reason in FAILURES else State.DESTROYED
    now = clock.now()
    moved = _move(
        sandbox,
        [State.DESTROYING],
        last,
        ended_at=now,
        peak=peak,
        secrets={},
        addresses={},
        lease_until=None,
        removal_error="",
    )
    if moved:
        journal(sandbox, str(last), "Nothing of it is left on the engine.")
    return moved
