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

from django.db import transaction
from django.db.models import F

from sandboxes.core import journal
from sandboxes.core.leases import LEASE_DURATION
from sandboxes.lib import clock
from sandboxes.models import FAILURE_REASONS, NOT_ENDING, EndReason, Sandbox, State
from sandboxes.models.runtime_settings import config

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def _transition(
    sandbox: Sandbox,
    expected: Iterable[str],
    to: str,
    *,
    lease_token: int | None = None,
    **values: Any,
) -> bool:
    rows = Sandbox.objects.filter(state__in=list(expected))
    if lease_token is not None:
        rows = rows.filter(lease_token=lease_token)
    moved = rows.claim(sandbox.pk, state=to, **values)
    if moved:
        sandbox.refresh_from_db()
    return moved


def _request_message(sandbox: Sandbox) -> str:
    wished = f"for {sandbox.ttl_minutes} minutes" if sandbox.owner_id else "for the pool"
    return f"A {sandbox.blueprint} sandbox was requested {wished}."


def create_pending(sandbox: Sandbox, actor: User | None) -> Sandbox:
    """(a) A request was granted: save the row as `pending`. The caller holds the limits' lock."""
    with transaction.atomic(savepoint=False):
        sandbox.save(force_insert=True)
        journal.record(sandbox, "requested", _request_message(sandbox), actor=actor)
    return sandbox


@transaction.atomic
def start_provisioning(sandbox: Sandbox) -> bool:
    """(b) A worker takes it, or takes it over from a worker whose lease ran out."""
    now = clock.now()
    rows = Sandbox.objects.unleased(now).filter(state__in=(State.PENDING, State.PROVISIONING))
    values: dict[str, Any] = {
        "state": State.PROVISIONING,
        "steps": [],
        "lease_token": F("lease_token") + 1,
        "leased_until": now + LEASE_DURATION,
    }
    started = rows.claim(sandbox.pk, **values)
    if started:
        sandbox.refresh_from_db()
        again = f" (attempt {sandbox.lease_token})" if sandbox.lease_token > 1 else ""
        journal.record(sandbox, "provisioning", f"Provisioning began{again}.")
    return started


def _initial_deadlines(now: datetime, ttl_minutes: int) -> dict[str, datetime]:
    """What starts when it begins to run."""
    hard_cap_at = now + timedelta(minutes=config.SANDBOX_HARD_CAP_MINUTES)
    return {
        "started_at": now,
        "last_activity_at": now,
        "expires_at": min(now + timedelta(minutes=ttl_minutes), hard_cap_at),
        "hard_cap_at": hard_cap_at,
    }


@transaction.atomic
def mark_ready(sandbox: Sandbox, addresses: dict[str, str], traffic_bytes: int) -> bool:
    """(c) Every check passed: its clocks start, or it goes into the pool that it was made for."""
    now, pooled = clock.now(), sandbox.is_for_pool
    clocks: dict[str, Any] = {} if pooled else _initial_deadlines(now, sandbox.ttl_minutes)
    moved = _transition(
        sandbox,
        [State.PROVISIONING],
        State.POOLED if pooled else State.RUNNING,
        lease_token=sandbox.lease_token,
        addresses=addresses,
        traffic_bytes=traffic_bytes,
        leased_until=None,
        **clocks,
    )
    if moved:
        took = (now - sandbox.created_at).total_seconds()
        message = f"Ready after {took:.1f} s."
        journal.record(sandbox, str(sandbox.state), message, seconds=round(took, 2), warm=False)
    return moved


@transaction.atomic(savepoint=False)
def assign(sandbox: Sandbox, owner: User, ttl_minutes: int, **chosen: Any) -> bool:
    """(h) It leaves the pool and is the owner's from now on. The caller holds the limits' lock.

    False: it is not in the pool any more.
    """
    now = clock.now()
    minutes = (now - sandbox.created_at) // timedelta(minutes=1)
    clocks: dict[str, Any] = _initial_deadlines(now, ttl_minutes)
    moved = _transition(
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
        journal.record(sandbox, "requested", _request_message(sandbox), actor=owner)
        message = f"Ready at once: it was made {minutes} min ago, and waited in the pool."
        journal.record(sandbox, "running", message, seconds=0.0, warm=True)
    return moved


@transaction.atomic
def begin_destroy(
    sandbox: Sandbox,
    reason: EndReason,
    message: str,
    *,
    actor: User | None = None,
    expected: Iterable[str] = NOT_ENDING,
    lease_token: int | None = None,
    failure: dict[str, Any] | None = None,
) -> bool:
    """(d, e, f) It is to end, for this reason; its owner's place is free at once."""
    moved = _transition(
        sandbox,
        expected,
        State.DESTROYING,
        lease_token=lease_token,
        end_reason=reason,
        end_message=message,
        failure=failure or {},
        slot=None,
        leased_until=None,
        reset_requested_at=None,
        funding_due_at=None,
    )
    if moved:
        journal.record(sandbox, "ending", message, actor=actor, reason=str(reason))
    return moved


@transaction.atomic
def mark_destroyed(sandbox: Sandbox, peak: dict[str, Any] | None = None) -> bool:
    """(g) Nothing of it is left on the engine: its secrets are wiped."""
    last = State.FAILED if sandbox.end_reason in FAILURE_REASONS else State.DESTROYED
    now = clock.now()
    moved = _transition(
        sandbox,
        [State.DESTROYING],
        last,
        ended_at=now,
        peak=peak,
        secrets={},
        addresses={},
        leased_until=None,
        removal_error="",
    )
    if moved:
        journal.record(sandbox, str(last), "Nothing of it is left on the engine.")
    return moved
