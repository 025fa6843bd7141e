"""Deliver webhook messages in a worker, with retries and growing delays.

A message is delivered at least once. A worker leases a webhook while it sends to it; if the worker
is killed, the message is due again when the lease ends.

Receivers may be slow, and only a few threads deliver at a time. Owners therefore take turns: no two
webhooks of one owner are served at once, next is the owner who was served least recently, and
webhooks that were slow the last time get only a part of the threads.
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
from django.db.models import F, Max, OuterRef

from sandboxes.lib import clock
from sandboxes.lib.batches import Batch
from sandboxes.lib.http.retry_after import parse_retry_after
from sandboxes.models import DeliveryStatus, DisabledReason, Webhook, WebhookDelivery
from sandboxes.models.abstract.claims import is_due
from sandboxes.models.webhook import TEST_EVENT_TYPE, WebhookQuerySet
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
MAX_RETRY_AFTER = timedelta(hours=1)
"""Upper limit for a receiver's `Retry-After`."""
EXCERPT_LENGTH = 500
MAX_LOGGED_ATTEMPTS = 30

SLOW_SECONDS = 2.0
"""Duration of an attempt from which on a webhook counts as slow."""
SLOW_THREADS = 3
"""How many of a process's threads may send to slow webhooks at once."""
CANDIDATES = 10

_batch = Batch("webhooks")
_slow_threads = BoundedSemaphore(SLOW_THREADS)


def deliver_due() -> None:
    """Deliver until nothing is due, unless enough threads are delivering already."""
    _batch.run(_deliver_next)


def _deliver_next() -> bool:
    if delivery := _claim(slow=False):
        _deliver(delivery)
        return True
    if not _slow_threads.acquire(blocking=False):
        return False
    try:
        if delivery := _claim(slow=True):
            _deliver(delivery)
        return delivery is not None
    finally:
        _slow_threads.release()


def _claim(**criteria: bool) -> WebhookDelivery | None:
    """Lease the next of these webhooks and claim its oldest due delivery; None if none is due."""
    now = clock.now()
    for webhook in _turns(now).filter(**criteria)[:CANDIDATES]:
        if pk := _acquire(webhook, now):
            rows = WebhookDelivery.objects.select_related("webhook")
            # Secrets are read later, where a decryption error fails only this message.
            return rows.defer("webhook__secrets").get(pk=pk)
    return None


def _turns(now: datetime) -> WebhookQuerySet:
    """Return webhooks with due deliveries whose owners have none in progress, in order of turns."""
    busy = Webhook.objects.filter(leased_until__isnull=False)
    busy = busy.exclude(is_due("leased_until", now, WEBHOOK_LEASE))
    of_owner = Webhook.objects.filter(user=OuterRef("user")).order_by().values("user")
    return (
        Webhook.objects.enabled()
        .filter(pk__in=WebhookDelivery.objects.due(now).values("webhook"))
        .exclude(user__in=busy.values("user"))
        .annotate(owner_served_at=of_owner.annotate(at=Max("last_attempt_at")).values("at"))
        .order_by(
            F("owner_served_at").asc(nulls_first=True),
            F("last_attempt_at").asc(nulls_first=True),
            "pk",
        )
    )


@transaction.atomic
def _acquire(webhook: Webhook, now: datetime) -> int | None:
    """Lease the webhook, and claim and return its oldest due delivery."""
    # The lock keeps other workers from leasing another webhook of the owner.
    siblings = Webhook.objects.select_for_update().filter(user=webhook.user_id).order_by("pk")
    if any(clock.is_ahead(row.leased_until, now, WEBHOOK_LEASE) for row in siblings):
        return None
    due = WebhookDelivery.objects.due(now).filter(webhook=webhook)
    pk = due.order_by("due_at", "pk").values_list("pk", flat=True).first()
    until = now + WEBHOOK_LEASE
    if pk is None or not Webhook.objects.enabled().claim(
        webhook.pk, leased_until=until, last_attempt_at=now
    ):
        return None
    due.claim(pk, due_at=until, attempts=F("attempts") + 1)
    return pk


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
    webhook = Webhook.objects.select_for_update().get(pk=delivery.webhook_id)
    values: dict[str, Any] = {"log": [*delivery.log, entry][-MAX_LOGGED_ATTEMPTS:]}
    if _is_success(status):
        values |= {"status": DeliveryStatus.DELIVERED, "due_at": None}
    elif delivery.attempts > len(RETRY_DELAYS):
        values |= {"status": DeliveryStatus.FAILED, "due_at": None}
    else:
        values |= {"due_at": now + _retry_delay(delivery.attempts, response)}
    # A worker whose lease has ended finds another number of attempts and changes nothing.
    current = WebhookDelivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts)
    current.filter(status=DeliveryStatus.PENDING).update(**values)
    _update_endpoint_health(webhook, delivery, now, entry)
    log.info("delivered", webhook=webhook.public_id, status=status, attempts=delivery.attempts)


def _is_success(status: int | None) -> bool:
    return status is not None and HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _retry_delay(attempts: int, response: DeliveryResponse | None) -> timedelta:
    """Return the delay after an attempt; longer if the receiver asks for it."""
    delay = RETRY_DELAYS[attempts - 1] * (1 + JITTER * random.random())  # noqa: S311 - no secret
    retry_after = response.retry_after if response else ""
    return max(delay, parse_retry_after(retry_after, MAX_RETRY_AFTER))


def _update_endpoint_health(
    webhook: Webhook, delivery: WebhookDelivery, now: datetime, entry: dict[str, Any]
) -> None:
    """Record whether the webhook works, and disable it if it failed for too long or is gone."""
    status = entry["status"]
    values: dict[str, Any] = {"leased_until": None, "slow": entry["seconds"] >= SLOW_SECONDS}
    if _is_success(status):
        values |= {"failing_since": None}
    elif delivery.type != TEST_EVENT_TYPE:
        values |= {"failing_since": webhook.failing_since or now}
    Webhook.objects.filter(pk=webhook.pk).update(**values)
    since = values.get("failing_since")
    if status == HTTPStatus.GONE:
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
