"""Has webhooks told of what the journal says, in the words of the API."""

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
"""Of lines in the journal, and what webhooks are told of them."""


def connect() -> None:
    """Called once, when the app is ready."""
    journalled.connect(publish_event, dispatch_uid="publish_event")


def publish_event(event: Event, **_: Any) -> None:
    """Queue the event for its owner's webhooks that want it, in the transaction of the line."""
    kind, owner = EVENT_TYPES.get(event.kind), event.sandbox.owner_id
    if kind is None or owner is None:
        return
    # A savepoint: should this fail, what happened has happened all the same.
    with transaction.atomic():
        on = Webhook.objects.enabled().filter(user=owner)
        if wanted := [webhook for webhook in on if kind in webhook.events]:
            outbox.enqueue_event(wanted, kind, event.at, _serialize_sandbox(event))


def _serialize_sandbox(event: Event) -> Any:
    # Most processes never tell anybody anything, and need not load the API for it.
    from sandboxes.representations import serializers

    # Read again: what the caller holds may be older than what it wrote.
    row = Sandbox.objects.prefetch_related("extensions").get(pk=event.sandbox_id)
    return serializers.sandbox(row).model_dump(mode="json")
