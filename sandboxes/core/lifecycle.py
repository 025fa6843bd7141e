"""Transitions between the states of a sandbox; the only module that writes `Sandbox.state`.

::

    create_pending
         ▼       start_provisioning             mark_ready
      pending ──────────────────────▶ provisioning ──▶ running
         │                                 │  └──▶ pooled ──assign──▶ running
         │                                 │         │                   │
         └──────────── begin_destroy ──────┴─────────┴───────────────────┘
                             ▼
                        destroying ──mark_destroyed──▶ destroyed or failed

Each transition is a conditional UPDATE. If no row matches, another process was first, which isn't
an error. The journal event is written in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import F
from django.utils.text import capfirst

from sandboxes import blueprints
from sandboxes.core import journal, ports
from sandboxes.core.leases import LEASE_DURATION
from sandboxes.lib import clock
from sandboxes.models import (
    FAILURE_REASONS,
    LAUNCHING_STATES,
    NOT_ENDING,
    EndReason,
    EventKind,
    Sandbox,
    State,
)
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
    purpose = f"for {sandbox.ttl_minutes} minutes" if sandbox.owner_id else "for the pool"
    return f"{capfirst(sandbox.blueprint)} sandbox requested {purpose}."


def create_pending(sandbox: Sandbox, actor: User | None) -> Sandbox:
    """Save a new row as `pending`. The caller holds the launch lock."""
    with transaction.atomic(savepoint=False):
        sandbox.save(force_insert=True)
        journal.record(sandbox, EventKind.REQUESTED, _request_message(sandbox), actor=actor)
    return sandbox


@transaction.atomic
def start_provisioning(sandbox: Sandbox) -> bool:
    """Start provisioning, or take it over from a worker whose lease has expired."""
    now = clock.now()
    rows = Sandbox.objects.unleased(now, LEASE_DURATION).filter(state__in=LAUNCHING_STATES)
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
        journal.record(sandbox, EventKind.PROVISIONING, f"Provisioning started{again}.")
    return started


def _initial_deadlines(sandbox: Sandbox, now: datetime, ttl_minutes: int) -> dict[str, datetime]:
    """Return the times that are set when a sandbox starts to run."""
    blueprint, hard_cap = blueprints.find_for_sandbox(sandbox), config.SANDBOX_HARD_CAP_MINUTES
    own = (blueprint and blueprint.limits.ttl_max_minutes) or hard_cap
    hard_cap_at = now + timedelta(minutes=min(own, hard_cap))
    return {
        "started_at": now,
        "last_activity_at": now,
        "expires_at": min(now + timedelta(minutes=ttl_minutes), hard_cap_at),
        "hard_cap_at": hard_cap_at,
    }


@transaction.atomic
def mark_ready(sandbox: Sandbox, addresses: dict[str, str], traffic_bytes: int) -> bool:
    """Mark a sandbox as running, or as pooled if it was provisioned for the pool."""
    now, pooled = clock.now(), sandbox.is_for_pool
    deadlines: dict[str, Any] = (
        {} if pooled else _initial_deadlines(sandbox, now, sandbox.ttl_minutes)
    )
    moved = _transition(
        sandbox,
        [State.PROVISIONING],
        State.POOLED if pooled else State.RUNNING,
        lease_token=sandbox.lease_token,
        addresses=addresses,
        traffic_bytes=traffic_bytes,
        leased_until=None,
        **deadlines,
    )
    if moved:
        took = (now - sandbox.created_at).total_seconds()
        message = f"Ready after {took:.1f} s."
        journal.record(
            sandbox, EventKind(sandbox.state), message, seconds=round(took, 2), warm=False
        )
    return moved


@transaction.atomic(savepoint=False)
def assign(sandbox: Sandbox, owner: User, ttl_minutes: int, **chosen: Any) -> bool:
    """Assign a pooled sandbox to an owner. The caller holds the launch lock.

    Returns False if the sandbox isn't in the pool any longer.
    """
    now = clock.now()
    minutes = (now - sandbox.created_at) // timedelta(minutes=1)
    deadlines: dict[str, Any] = _initial_deadlines(sandbox, now, ttl_minutes)
    moved = _transition(
        sandbox,
        [State.POOLED],
        State.RUNNING,
        owner=owner,
        created_at=now,
        ttl_minutes=ttl_minutes,
        **deadlines,
        **chosen,
    )
    if moved:
        requested = _request_message(sandbox)
        ready = f"Ready (from the warm pool, provisioned {minutes} min ago)."
        journal.record_all(
            [
                journal.new_event(sandbox, EventKind.REQUESTED, requested, actor=owner),
                journal.new_event(sandbox, EventKind.RUNNING, ready, seconds=0.0, warm=True),
            ]
        )
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
    """Begin to destroy a sandbox for this reason. Its owner's slot is free immediately."""
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
        reset_to=None,
        funding_due_at=None,
    )
    if moved:
        journal.record(sandbox, EventKind.ENDING, message, actor=actor, reason=str(reason))
    return moved


@transaction.atomic
def mark_destroyed(sandbox: Sandbox, peak: dict[str, Any] | None = None) -> bool:
    """Mark a sandbox whose resources were removed as destroyed or failed; wipe its secrets."""
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
        ports.release(sandbox)
        journal.record(sandbox, EventKind(last), "Resources removed.")
    return moved
