"""Publish journal events to webhooks, in the format of the API."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from sandboxes.core.journal import journalled
from sandboxes.models import Event, EventType, Sandbox, Webhook
from sandboxes.webhooks import outbox

EVENT_TYPES = {
    "running": EventType.RUNNING,
    "warned": EventType.WARNING,
    "extended": EventType.EXTENDED,
    "destroyed": EventType.ENDED,
    "failed": EventType.FAILED,
}
"""Webhook event types by kind of journal event."""


def connect() -> None:
    """Subscribe to the journal; called once when the app is ready."""
    journalled.connect(publish_event, dispatch_uid="publish_event")


def publish_event(event: Event, **_: Any) -> None:
    """Queue the event for the owner's subscribed webhooks, in the transaction of the journal."""
    kind, owner = EVENT_TYPES.get(event.kind), event.sandbox.owner_id
    if kind is None or owner is None:
        return
    # The savepoint keeps a failure from rolling back the state change.
    with transaction.atomic():
        enabled = Webhook.objects.enabled().filter(user=owner)
        if subscribed := [webhook for webhook in enabled if kind in webhook.events]:
            outbox.enqueue_event(subscribed, kind, event.created_at, _serialize_sandbox(event))


def _serialize_sandbox(event: Event) -> Any:
    # Most processes publish no events and needn't load the API.
    from sandboxes.representations import serializers

    # Read the row again: the caller's instance may be older than the database.
    row = Sandbox.objects.prefetch_related("extensions").get(pk=event.sandbox_id)
    return serializers.sandbox(row).model_dump(mode="json")
