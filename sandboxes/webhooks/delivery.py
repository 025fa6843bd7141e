"""The worker's side of webhooks: what is due is sent, and sent again with growing delays.

A message is delivered at least once. A worker holds a webhook while it sends to it, for no longer
than a lease: what a killed worker was about is due again afterwards. Few threads deliver at a time,
since receivers may be slow, and sandboxes are made by the same worker.
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
from django.db.models import F, Q

from sandboxes.lib import clock
from sandboxes.models import DeliveryStatus, DisabledReason, Webhook, WebhookDelivery
from sandboxes.models.webhook import TEST_EVENT_TYPE
from sandboxes.notifications import emails
from sandboxes.webhooks import signing
from sandboxes.webhooks.client import DeliveryError, DeliveryResponse, post

log = structlog.get_logger(__name__)

RETRY_DELAYS = [
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
]
"""Between tries, as Standard Webhooks suggests: ten in about three days."""
JITTER = 0.1
"""So that not all receivers of one server are asked again at the same moment."""
WEBHOOK_LEASE = timedelta(seconds=60)
DISABLE_AFTER = timedelta(days=5)
"""A webhook to which nothing could be delivered for so long is switched off."""
MAX_RETRY_AFTER = timedelta(hours=1)
"""Of a receiver that says when to come back."""
EXCERPT_LENGTH = 500
MAX_LOGGED_ATTEMPTS = 30

_delivery_slots = BoundedSemaphore(3)


def deliver_due() -> None:
    """Deliver until nothing is due. Whoever finds all places taken leaves it to those there."""
    if not _delivery_slots.acquire(blocking=False):
        return
    try:
        while claimed := _claim():
            _deliver(claimed)
    finally:
        _delivery_slots.release()


def _is_unleased(now: datetime) -> Q:
    return Q(busy_until=None) | Q(busy_until__lte=now)


def _claim() -> WebhookDelivery | None:
    """The delivery that is due longest of a webhook to which nobody is sending."""
    now = clock.now()
    idle = Webhook.objects.enabled().filter(_is_unleased(now)).values("pk")
    for pk, webhook in (
        WebhookDelivery.objects.due(now)
        .filter(webhook__in=idle)
        .order_by("due_at", "pk")
        .values_list("pk", "webhook")[:20]
    ):
        if _acquire(pk, webhook, now):
            rows = WebhookDelivery.objects.select_related("webhook")
            # They are read where one that can't be deciphered fails this message alone.
            return rows.defer("webhook__secrets").get(pk=pk)
    return None


@transaction.atomic
def _acquire(delivery: int, webhook: int, now: datetime) -> bool:
    until = now + WEBHOOK_LEASE
    if not Webhook.objects.filter(_is_unleased(now), pk=webhook, off_because="").update(
        busy_until=until
    ):
        return False
    held = WebhookDelivery.objects.due(now).filter(pk=delivery)
    if held.update(due_at=until, tries=F("tries") + 1):
        return True
    Webhook.objects.filter(pk=webhook).update(busy_until=None)
    return False


def _deliver(delivery: WebhookDelivery) -> None:
    webhook, now, began = delivery.webhook, clock.now(), monotonic()
    answer, error = None, ""
    try:
        headers = signing.headers(webhook, delivery, now)
        answer = post(webhook.url, headers, delivery.body.encode())
    except DeliveryError as unreachable:
        error = str(unreachable)
    except Exception:
        # One message that can't be sent at all must not hold up the others for ever.
        log.exception("delivery_stumbled", webhook=webhook.public_id)
        error = "The portal stumbled over this message; its operators find the reason in the log."
    entry = {
        "at": now.isoformat(),
        "status": answer.status if answer else None,
        "seconds": round(monotonic() - began, 3),
        "error": error,
        "response": answer.text[:EXCERPT_LENGTH].replace("\0", "") if answer else "",
    }
    _record(delivery, answer, entry)


@transaction.atomic
def _record(
    delivery: WebhookDelivery, answer: DeliveryResponse | None, entry: dict[str, Any]
) -> None:
    now, status = clock.now(), answer.status if answer else None
    good = status is not None and HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
    webhook = Webhook.objects.select_for_update().get(pk=delivery.webhook_id)
    values: dict[str, Any] = {"log": [*delivery.log, entry][-MAX_LOGGED_ATTEMPTS:]}
    if good:
        values |= {"outcome": DeliveryStatus.DELIVERED, "due_at": None}
    elif delivery.tries > len(RETRY_DELAYS):
        values |= {"outcome": DeliveryStatus.FAILED, "due_at": None}
    else:
        values |= {"due_at": now + _delay(delivery.tries, answer)}
    # A slow worker whose lease ran out finds another number of tries, and changes nothing.
    held = WebhookDelivery.objects.filter(pk=delivery.pk, tries=delivery.tries)
    held.filter(outcome=DeliveryStatus.PENDING).update(**values)
    _update_endpoint_health(webhook, delivery, now, good=good, gone=status == HTTPStatus.GONE)
    log.info("delivered", webhook=webhook.public_id, status=status, tries=delivery.tries)


def _delay(tries: int, answer: DeliveryResponse | None) -> timedelta:
    """After so many tries; longer where the receiver says so."""
    delay = RETRY_DELAYS[tries - 1] * (1 + JITTER * random.random())  # noqa: S311 - no secret
    wish = answer.retry_after if answer else ""
    asked = timedelta(seconds=int(wish)) if wish.isdecimal() and len(wish) < 6 else timedelta()  # noqa: PLR2004
    return max(delay, min(asked, MAX_RETRY_AFTER))


def _update_endpoint_health(
    webhook: Webhook, delivery: WebhookDelivery, now: datetime, *, good: bool, gone: bool
) -> None:
    """What the try says of the webhook: it works, it fails, or it is to be left alone."""
    values: dict[str, Any] = {"busy_until": None}
    if good:
        values |= {"failing_since": None}
    elif delivery.type != TEST_EVENT_TYPE:
        values |= {"failing_since": webhook.failing_since or now}
    Webhook.objects.filter(pk=webhook.pk).update(**values)
    since = values.get("failing_since")
    if gone:
        disable(webhook, DisabledReason.GONE)
    elif since and now - since >= DISABLE_AFTER:
        disable(webhook, DisabledReason.FAILING)


@transaction.atomic
def disable(webhook: Webhook, why: DisabledReason) -> None:
    """Send nothing more. What still waited is given up; it can be sent again by hand."""
    if not Webhook.objects.filter(pk=webhook.pk, off_because="").update(off_because=why):
        return
    waiting = WebhookDelivery.objects.filter(webhook=webhook, outcome=DeliveryStatus.PENDING)
    waiting.update(outcome=DeliveryStatus.FAILED, due_at=None)
    webhook.refresh_from_db(fields=["off_because"])
    if why != DisabledReason.OWNER:
        transaction.on_commit(lambda: emails.send_webhook_disabled(webhook))
