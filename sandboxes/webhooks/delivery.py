"""Deliver webhook messages in a worker, with retries and growing delays.

A message is delivered at least once. A worker leases a webhook while it sends to it; if the worker
is killed, the message is due again when the lease ends.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from time import monotonic
from typing import Any

import structlog
from django.db import transaction

from sandboxes.lib import clock
from sandboxes.lib.http.retry_after import parse_retry_after
from sandboxes.models import DeliveryStatus, DisabledReason, Webhook, WebhookDelivery
from sandboxes.models.webhook import TEST_EVENT_TYPE
from sandboxes.notifications import emails
from sandboxes.webhooks import signing
from sandboxes.webhooks.client import DeliveryError, DeliveryResponse, post
from sandboxes.webhooks.delivery_queue import SLOW_SECONDS, DeliveryQueue
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
DISABLE_AFTER = timedelta(days=5)
"""Duration of failures after which a webhook is disabled."""
MAX_RETRY_AFTER = timedelta(hours=1)
"""Upper limit for a receiver's `Retry-After`."""
EXCERPT_LENGTH = 500
MAX_LOGGED_ATTEMPTS = 30

_queue = DeliveryQueue("webhooks", Webhook, WebhookDelivery, "webhook")


def deliver_due() -> None:
    """Deliver until nothing is due, unless enough threads are delivering already."""
    _queue.deliver_due(_deliver)


def _claim(**criteria: bool) -> WebhookDelivery | None:
    """Lease the next of these webhooks and claim its oldest due delivery; None if none is due."""
    delivery: WebhookDelivery | None = _queue.claim(**criteria)
    return delivery


def _render(delivery: WebhookDelivery) -> None:
    """Render the message once; retries send the same bytes."""
    if not delivery.body:
        delivery.body, delivery.facts = body_of(delivery), None
        delivery.save(update_fields=["body", "facts"])


@dataclass(frozen=True)
class Attempt:
    """One attempt to deliver a message: its response, or the error if there was none."""

    at: datetime
    response: DeliveryResponse | None
    error: str
    seconds: float

    @property
    def status(self) -> int | None:
        return self.response.status if self.response else None

    @property
    def succeeded(self) -> bool:
        """Whether the receiver took the message."""
        return (
            self.status is not None and HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES
        )

    @property
    def entry(self) -> dict[str, Any]:
        """The entry of the delivery's log."""
        text = self.response.text[:EXCERPT_LENGTH].replace("\0", "") if self.response else ""
        return {
            "at": self.at.isoformat(),
            "status": self.status,
            "seconds": self.seconds,
            "error": self.error,
            "response": text,
        }


def attempt(url: str, message: Callable[[datetime], tuple[Mapping[str, str], bytes]]) -> Attempt:
    """Send a message, made of headers and body, once; log an unexpected error."""
    now, started_at = clock.now(), monotonic()
    response, error = None, ""
    try:
        response = post(url, *message(now))
    except DeliveryError as failure:
        error = str(failure)
    except Exception:
        # A message that can't be sent must not block the others.
        log.exception("delivery_failed")
        error = "Internal error. It has been logged."
    return Attempt(now, response, error, round(monotonic() - started_at, 3))


def outcome(delivery: Any, made: Attempt) -> dict[str, Any]:
    """Return the values that an attempt gives to a delivery: its log, and what is next."""
    values: dict[str, Any] = {"log": [*delivery.log, made.entry][-MAX_LOGGED_ATTEMPTS:]}
    if made.succeeded:
        return values | {"status": DeliveryStatus.DELIVERED, "due_at": None}
    if delivery.attempts > len(RETRY_DELAYS):
        return values | {"status": DeliveryStatus.FAILED, "due_at": None}
    return values | {"due_at": clock.now() + _retry_delay(delivery.attempts, made.response)}


def _deliver(delivery: WebhookDelivery) -> None:
    def message(now: datetime) -> tuple[Mapping[str, str], bytes]:
        _render(delivery)
        return signing.headers(delivery.webhook, delivery, now), delivery.body.encode()

    _record(delivery, attempt(delivery.webhook.url, message))


@transaction.atomic
def _record(delivery: WebhookDelivery, made: Attempt) -> None:
    webhook = Webhook.objects.select_for_update().get(pk=delivery.webhook_id)
    # A worker whose lease has ended finds another number of attempts and changes nothing.
    current = WebhookDelivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts)
    current.filter(status=DeliveryStatus.PENDING).update(**outcome(delivery, made))
    _update_endpoint_health(webhook, delivery, made)
    log.info("delivered", webhook=webhook.public_id, status=made.status, attempts=delivery.attempts)


def _retry_delay(attempts: int, response: DeliveryResponse | None) -> timedelta:
    """Return the delay after an attempt; longer if the receiver asks for it."""
    delay = RETRY_DELAYS[attempts - 1] * (1 + JITTER * random.random())  # noqa: S311 - no secret
    retry_after = response.retry_after if response else ""
    return max(delay, parse_retry_after(retry_after, MAX_RETRY_AFTER))


def _update_endpoint_health(webhook: Webhook, delivery: WebhookDelivery, made: Attempt) -> None:
    """Record whether the webhook works, and disable it if it failed for too long or is gone."""
    now = clock.now()
    values: dict[str, Any] = {"leased_until": None, "slow": made.seconds >= SLOW_SECONDS}
    if made.succeeded:
        values |= {"failing_since": None}
    elif delivery.type != TEST_EVENT_TYPE:
        values |= {"failing_since": webhook.failing_since or now}
    Webhook.objects.filter(pk=webhook.pk).update(**values)
    since = values.get("failing_since")
    if made.status == HTTPStatus.GONE:
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
