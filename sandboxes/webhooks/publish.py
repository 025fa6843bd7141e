"""Publish journal events to webhooks."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from sandboxes.core.journal import event_recorded
from sandboxes.models import Event, EventKind, EventType, Webhook
from sandboxes.webhooks import outbox
from sandboxes.webhooks.messages import sandbox_facts

EVENT_TYPES: dict[str, EventType] = {
    EventKind.RUNNING: EventType.RUNNING,
    EventKind.WARNED: EventType.WARNING,
    EventKind.EXTENDED: EventType.EXTENDED,
    EventKind.UNREACHABLE: EventType.UNREACHABLE,
    EventKind.REACHABLE: EventType.REACHABLE,
    EventKind.DESTROYED: EventType.ENDED,
    EventKind.FAILED: EventType.FAILED,
}
"""Webhook event types by kind of journal event."""


def connect() -> None:
    """Subscribe to the journal; called once when the app is ready."""
    event_recorded.connect(publish_event, dispatch_uid="publish_event")


def publish_event(event: Event, **_: Any) -> None:
    """Queue the event for the owner's subscribed webhooks, in the transaction of the journal."""
    kind, owner = EVENT_TYPES.get(event.kind), event.sandbox.owner_id
    if kind is None or owner is None:
        return
    enabled = Webhook.objects.enabled().filter(user=owner)
    subscribed = [webhook for webhook in enabled if kind in webhook.events]
    if not subscribed:
        return
    # The savepoint keeps a failure from rolling back the state change.
    with transaction.atomic():
        outbox.enqueue_event(subscribed, kind, event.created_at, sandbox_facts(event))
