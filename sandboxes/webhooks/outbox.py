"""Transactional outbox of webhook events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from sandboxes.lib import clock
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import DeliveryStatus, Webhook, WebhookDelivery
from sandboxes.models.webhook import TEST_EVENT_TYPE
from sandboxes.webhooks import tasks as webhook_tasks
from sandboxes.webhooks.messages import encode

MAX_PENDING = 20
"""Pending messages of a webhook above which no test or resent message is accepted."""


def enqueue_event(
    webhooks: Iterable[Webhook], kind: str, at: datetime, facts: Mapping[str, Any]
) -> None:
    """Queue a message about these facts for each webhook; the worker renders it."""
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(webhook=webhook, type=kind, facts=facts, created_at=at, due_at=at)
        for webhook in webhooks
    )
    webhook_tasks.schedule_delivery()


@transaction.atomic
def send_test(webhook: Webhook) -> WebhookDelivery:
    """Queue a test message. Raises StateConflict."""
    _require_capacity(webhook)
    now = clock.now()
    data = {"webhook": webhook.public_id, "message": "Test event"}
    row = WebhookDelivery.objects.create(
        webhook=webhook,
        type=TEST_EVENT_TYPE,
        body=encode(TEST_EVENT_TYPE, now, data),
        created_at=now,
        due_at=now,
    )
    webhook_tasks.schedule_delivery()
    return row


@transaction.atomic
def resend(delivery: WebhookDelivery) -> None:
    """Queue a delivery again, with the same `webhook-id` and body. Raises StateConflict."""
    _require_capacity(delivery.webhook)
    values = {"status": DeliveryStatus.PENDING, "due_at": clock.now(), "attempts": 0}
    _set(delivery, **values)
    webhook_tasks.schedule_delivery()


def _set(delivery: WebhookDelivery, **values: Any) -> None:
    WebhookDelivery.objects.filter(pk=delivery.pk).update(**values)
    delivery.refresh_from_db(fields=list(values))


def _require_capacity(webhook: Webhook) -> None:
    """Raise StateConflict if the webhook is disabled or has too many pending messages.

    The portal must not be usable to flood a server.
    """
    if not webhook.is_enabled:
        raise StateConflict("This webhook is disabled. Enable it first.")
    if webhook.deliveries.filter(status=DeliveryStatus.PENDING).count() >= MAX_PENDING:
        raise StateConflict("Too many pending deliveries. Try again later.")
