"""The journal: one event for everything that happens to a sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog
from django.dispatch import Signal

from sandboxes.lib import clock
from sandboxes.models import OPERATOR_REASONS, Event, EventKind, Sandbox

if TYPE_CHECKING:
    from django.contrib.auth.models import User

log = structlog.get_logger(__name__)

event_recorded = Signal()
"""Sent with each new `event`, in its transaction. Errors of receivers are only logged."""


def record(
    sandbox: Sandbox, kind: EventKind, message: str, *, actor: User | None = None, **data: Any
) -> Event:
    """Add an event to the sandbox's journal and send `event_recorded`."""
    event = new_event(sandbox, kind, message, actor=actor, **data)
    record_all([event])
    return event


def new_event(
    sandbox: Sandbox, kind: EventKind, message: str, *, actor: User | None = None, **data: Any
) -> Event:
    """Return an event that happens now, for `record_all`."""
    now = clock.now()
    return Event(
        sandbox=sandbox,
        created_at=now,
        kind=str(kind),
        actor=actor,
        actor_role=_role(sandbox, actor),
        message=message,
        data=data,
        mail_due_at=now if is_emailed(sandbox, kind, data) else None,
    )


def is_emailed(sandbox: Sandbox, kind: str, data: Mapping[str, Any]) -> bool:
    """Return whether the owner gets the event by email; its row is the queue entry.

    These are operators' messages, ends that operators decided on, and that a sandbox can be
    replaced because its engine is away.
    """
    if sandbox.owner_id is None:
        return False
    return kind in (EventKind.MESSAGE, EventKind.UNREACHABLE) or (
        kind == EventKind.ENDING and data.get("reason") in OPERATOR_REASONS
    )


def record_all(events: Sequence[Event]) -> None:
    """Add events to the journal in one statement, and send `event_recorded` for each."""
    Event.objects.bulk_create(events)
    for event in events:
        sandbox = event.sandbox
        log.info(
            "journal",
            sandbox=sandbox.public_id,
            kind=event.kind,
            by=event.actor_role,
            state=sandbox.state,
        )
        event_recorded.send_robust(sender=Event, event=event)


def _role(sandbox: Sandbox, actor: User | None) -> str:
    if actor is None:
        return "portal"
    return "owner" if actor.pk == sandbox.owner_id else "operator"
