"""The journal: one event for everything that happens to a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from django.dispatch import Signal

from sandboxes.lib import clock
from sandboxes.models import Event, EventKind, Sandbox

if TYPE_CHECKING:
    from django.contrib.auth.models import User

log = structlog.get_logger(__name__)

event_recorded = Signal()
"""Sent with each new `event`, in its transaction. Errors of receivers are only logged."""


def record(
    sandbox: Sandbox, kind: EventKind, message: str, *, actor: User | None = None, **data: Any
) -> Event:
    """Add an event to the sandbox's journal and send `event_recorded`."""
    actor_role = (
        "portal" if actor is None else "owner" if actor.pk == sandbox.owner_id else "operator"
    )
    log.info(
        "journal", sandbox=sandbox.public_id, kind=str(kind), by=actor_role, state=sandbox.state
    )
    event = Event.objects.create(
        sandbox=sandbox,
        created_at=clock.now(),
        kind=str(kind),
        actor=actor,
        actor_role=actor_role,
        message=message,
        data=data,
    )
    event_recorded.send_robust(sender=Event, event=event)
    return event
