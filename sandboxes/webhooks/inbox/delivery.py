"""Deliver events of sandboxes in a worker, under the rules of the portal's own webhooks.

An event is delivered at least once. Duplicates, disorder, delays and wrong signatures are added on
purpose, if the endpoint asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog
from django.db import transaction

from sandboxes import blueprints, explorer
from sandboxes.encryption.fields import DecryptionError
from sandboxes.lib import clock
from sandboxes.lib.exceptions import ServiceError, ValidationFailed
from sandboxes.lib.http.tcp_traffic import Traffic
from sandboxes.models import DeliveryStatus, EventDelivery, EventEndpoint, Sandbox
from sandboxes.webhooks.client import DeliveryError, DeliveryResponse
from sandboxes.webhooks.delivery import Attempt, attempt, outcome
from sandboxes.webhooks.delivery_queue import SLOW_SECONDS, DeliveryQueue
from sandboxes.webhooks.inbox import source
from sandboxes.webhooks.inbox.misbehavior import Misbehavior
from sandboxes.webhooks.signing import new_secret, signed_headers
from sandboxes.webhooks.url_policy import check_url

log = structlog.get_logger(__name__)

RECEIVED = "Received by the inbox."
WRONG_SIGNATURE = "wrong signature"
MAX_REPORTED_LENGTH = 4000

_queue = DeliveryQueue("events", EventEndpoint, EventDelivery, "endpoint")


def deliver_due() -> None:
    """Deliver until nothing is due, unless enough threads are delivering already."""
    _queue.deliver_due(_deliver)


def _deliver(delivery: EventDelivery) -> None:
    endpoint, event = delivery.endpoint, delivery.event
    sandbox = Sandbox.objects.get(pk=event.sandbox_id)
    wrong = Misbehavior(**endpoint.misbehavior).signs_wrongly()
    sent: dict[str, str] = {}

    def message(now: datetime) -> tuple[Mapping[str, str], bytes]:
        keys = [new_secret()] if wrong else _active_secrets(endpoint.secrets, now)
        sent.update(signed_headers(event.message_id, event.body, now, keys))
        try:
            check_url(endpoint.url)
        except ValidationFailed as error:
            raise DeliveryError(f"The URL isn't allowed: {error}") from error
        return sent, event.body.encode()

    if source.is_receiver(endpoint.url, sandbox.public_id):
        now = clock.now()
        keys = [new_secret()] if wrong else _active_secrets(endpoint.secrets, now)
        sent.update(signed_headers(event.message_id, event.body, now, keys or [new_secret()]))
        made = Attempt(now, DeliveryResponse(200, RECEIVED, ""), "", 0.0)
    else:
        made = attempt(endpoint.url, message)
    due_at = _record(delivery, made, sent, WRONG_SIGNATURE if wrong else "")
    _report(sandbox, delivery, made, due_at)


def _active_secrets(secrets: Mapping[str, str], now: datetime) -> list[str]:
    """Return the secrets that sign: the current one, and for a time the previous one."""
    until = secrets.get("previous_until")
    names = ["current"]
    if until and datetime.fromisoformat(until) > now:
        names.append("previous")
    return [secrets[name] for name in names if name in secrets]


@transaction.atomic
def _record(
    delivery: EventDelivery, made: Attempt, headers: dict[str, str], on_purpose: str
) -> datetime | None:
    """Store an attempt, and return when the next one is due."""
    values = outcome(delivery, made)
    values["log"][-1] |= {"headers": headers, "on_purpose": on_purpose}
    # A worker whose lease has ended finds another number of attempts and changes nothing.
    current = EventDelivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts)
    current.filter(status=DeliveryStatus.PENDING).update(**values)
    EventEndpoint.objects.filter(pk=delivery.endpoint_id).update(
        leased_until=None, slow=made.seconds >= SLOW_SECONDS
    )
    due_at: datetime | None = values["due_at"]
    return due_at


def _report(
    sandbox: Sandbox, delivery: EventDelivery, made: Attempt, due_at: datetime | None
) -> None:
    """Record the attempt in the sandbox, so that developers see it there; once, if possible."""
    blueprint = blueprints.find_for_sandbox(sandbox)
    events = blueprint.events if blueprint else None
    if events is None or not events.deliveries:
        return
    body: dict[str, Any] = {
        "endpoint_id": delivery.endpoint.endpoint_id,
        "event_id": delivery.event.event_id,
        "attempt": delivery.attempts,
        "response_status": made.status,
        "response_body": made.response.text[:MAX_REPORTED_LENGTH] if made.response else "",
        "error": made.error[:300],
        "duration_ms": round(made.seconds * 1000),
        "next_attempt_at": due_at.isoformat() if due_at else None,
    }
    traffic = [Traffic()]
    try:
        access = explorer.portal_access(sandbox, events.endpoint, events.secret)
        source.post(access, events.deliveries, body, traffic.append)
    except (ServiceError, DecryptionError, blueprints.BlueprintNotFound) as error:
        log.info("delivery_not_reported", sandbox=sandbox.public_id, error=str(error))
    finally:
        total = sum(traffic, Traffic())
        Sandbox.objects.filter(pk=sandbox.pk).add_portal_traffic(total.sent, total.received)
