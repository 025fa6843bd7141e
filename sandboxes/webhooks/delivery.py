"""Deliver webhook messages in a worker, with retries and growing delays.

A message is delivered at least once. A worker leases a webhook while it sends to it; if the worker
is killed, the message is due again when the lease ends. Only a few threads deliver at a time,
because receivers may be slow and the same worker provisions sandboxes.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from http import HTTPStatus
from threading import BoundedSemaphore
from time import monotonic
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F

from sandboxes.lib import clock
from sandboxes.models import DeliveryStatus, DisabledReason, Webhook, WebhookDelivery
from sandboxes.models.webhook import TEST_EVENT_TYPE
from sandboxes.notifications import emails
from sandboxes.webhooks import signing
from sandboxes.webhooks.client import DeliveryError, DeliveryResponse, post
from sandboxes.webhooks.messages import body_of

log = structlog.get_logger(__name__)

RETRY_DELAYS = [
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
]
"""Delays between attempts, as Standard Webhooks suggests: ten attempts in about three days."""
JITTER = 0.1
"""Random share of the delay, so that retries to one server don't coincide."""
WEBHOOK_LEASE = timedelta(seconds=60)
DISABLE_AFTER = timedelta(days=5)
"""Duration of failures after which a webhook is disabled."""
MAX_RETRY_AFTER_DIGITS = 5
MAX_RETRY_AFTER = timedelta(hours=1)
"""Upper limit for a receiver's `Retry-After`."""
EXCERPT_LENGTH = 500
MAX_LOGGED_ATTEMPTS = 30

_delivery_slots = BoundedSemaphore(3)


def deliver_due() -> None:
    """Deliver until nothing is due, unless enough threads are delivering already."""
    if not _delivery_slots.acquire(blocking=False):
        return
    try:
        while claimed := _claim():
            _deliver(claimed)
    finally:
        _delivery_slots.release()


def _claim() -> WebhookDelivery | None:
    """Lease the delivery that has been due the longest and whose webhook is idle."""
    now = clock.now()
    idle = Webhook.objects.enabled().unleased(now).values("pk")
    for pk, webhook in (
        WebhookDelivery.objects.due(now)
        .filter(webhook__in=idle)
        .order_by("due_at", "pk")
        .values_list("pk", "webhook")[:20]
    ):
        if _acquire(pk, webhook, now):
            rows = WebhookDelivery.objects.select_related("webhook")
            # Secrets are read later, where a decryption error fails only this message.
            return rows.defer("webhook__secrets").get(pk=pk)
    return None


@transaction.atomic
def _acquire(delivery: int, webhook: int, now: datetime) -> bool:
    until = now + WEBHOOK_LEASE
    if not Webhook.objects.enabled().unleased(now).claim(webhook, leased_until=until):
        return False
    due = WebhookDelivery.objects.due(now)
    if due.claim(delivery, due_at=until, attempts=F("attempts") + 1):
        return True
    Webhook.objects.filter(pk=webhook).update(leased_until=None)
    return False


def _render(delivery: WebhookDelivery) -> None:
    """Render the message once; retries send the same bytes."""
    if not delivery.body:
        delivery.body, delivery.facts = body_of(delivery), None
        delivery.save(update_fields=["body", "facts"])


def _deliver(delivery: WebhookDelivery) -> None:
    webhook, now, started_at = delivery.webhook, clock.now(), monotonic()
    response, error = None, ""
    try:
        _render(delivery)
        headers = signing.headers(webhook, delivery, now)
        response = post(webhook.url, headers, delivery.body.encode())
    except DeliveryError as failure:
        error = str(failure)
    except Exception:
        # A message that can't be sent must not block the others.
        log.exception("delivery_failed", webhook=webhook.public_id)
        error = "Internal error. It has been logged."
    entry = {
        "at": now.isoformat(),
        "status": response.status if response else None,
        "seconds": round(monotonic() - started_at, 3),
        "error": error,
        "response": response.text[:EXCERPT_LENGTH].replace("\0", "") if response else "",
    }
    _record(delivery, response, entry)


@transaction.atomic
def _record(
    delivery: WebhookDelivery, response: DeliveryResponse | None, entry: dict[str, Any]
) -> None:
    now, status = clock.now(), response.status if response else None
    succeeded = status is not None and HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
    webhook = Webhook.objects.select_for_update().get(pk=delivery.webhook_id)
    values: dict[str, Any] = {"log": [*delivery.log, entry][-MAX_LOGGED_ATTEMPTS:]}
    if succeeded:
        values |= {"status": DeliveryStatus.DELIVERED, "due_at": None}
    elif delivery.attempts > len(RETRY_DELAYS):
        values |= {"status": DeliveryStatus.FAILED, "due_at": None}
    else:
        values |= {"due_at": now + _retry_delay(delivery.attempts, response)}
    # A worker whose lease has ended finds another number of attempts and changes nothing.
    current = WebhookDelivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts)
    current.filter(status=DeliveryStatus.PENDING).update(**values)
    _update_endpoint_health(
        webhook, delivery, now, succeeded=succeeded, is_gone=status == HTTPStatus.GONE
    )
    log.info("delivered", webhook=webhook.public_id, status=status, attempts=delivery.attempts)


def _retry_delay(attempts: int, response: DeliveryResponse | None) -> timedelta:
    """Return the delay after an attempt; longer if the receiver asks for it."""
    delay = RETRY_DELAYS[attempts - 1] * (1 + JITTER * random.random())  # noqa: S311 - no secret
    value = response.retry_after if response else ""
    is_valid = value.isdecimal() and len(value) <= MAX_RETRY_AFTER_DIGITS
    retry_after = timedelta(seconds=int(value)) if is_valid else timedelta()
    return max(delay, min(retry_after, MAX_RETRY_AFTER))


def _update_endpoint_health(
    webhook: Webhook, delivery: WebhookDelivery, now: datetime, *, succeeded: bool, is_gone: bool
) -> None:
    """Record whether the webhook works, and disable it if it failed for too long or is gone."""
    values: dict[str, Any] = {"leased_until": None}
    if succeeded:
        values |= {"failing_since": None}
    elif delivery.type != TEST_EVENT_TYPE:
        values |= {"failing_since": webhook.failing_since or now}
    Webhook.objects.filter(pk=webhook.pk).update(**values)
    since = values.get("failing_since")
    if is_gone:
        disable(webhook, DisabledReason.GONE)
    elif since and now - since >= DISABLE_AFTER:
        disable(webhook, DisabledReason.FAILING)


@transaction.atomic
def disable(webhook: Webhook, reason: DisabledReason) -> None:
    """Disable a webhook. Pending deliveries fail; they can be resent later."""
    if not Webhook.objects.filter(pk=webhook.pk, disabled_reason="").update(disabled_reason=reason):
        return
    waiting = WebhookDelivery.objects.filter(webhook=webhook, status=DeliveryStatus.PENDING)
    waiting.update(status=DeliveryStatus.FAILED, due_at=None)
    webhook.refresh_from_db(fields=["disabled_reason"])
    if reason != DisabledReason.OWNER:
        transaction.on_commit(lambda: emails.send_webhook_disabled(webhook))
