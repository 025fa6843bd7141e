"""The inbox of a sandbox: its events and their deliveries; used by pages, API and actions."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, QuerySet
from pydantic import ValidationError

from sandboxes import blueprints, explorer
from sandboxes.blueprints.blueprint import EventSource
from sandboxes.lib import clock
from sandboxes.lib.exceptions import StateConflict, ValidationFailed
from sandboxes.lib.http.tcp_traffic import Traffic
from sandboxes.models import (
    DeliveryStatus,
    EventDelivery,
    EventEndpoint,
    EventFeed,
    Sandbox,
    SandboxEvent,
)
from sandboxes.webhooks.inbox import feeds, source
from sandboxes.webhooks.inbox.misbehavior import Misbehavior

MAX_ID_LENGTH = source.MAX_ID_LENGTH
MAX_PENDING_REPLAYS = 20
"""Pending deliveries of an event above which it isn't replayed, so that no server is flooded."""


def event_source(sandbox: Sandbox) -> EventSource | None:
    """Return how a sandbox offers events; None if it doesn't."""
    blueprint = blueprints.find_for_sandbox(sandbox)
    return blueprint.events if blueprint else None


def events(sandbox: Sandbox) -> QuerySet[SandboxEvent]:
    """Return the events of a sandbox with their deliveries, without the secrets of endpoints."""
    deliveries = EventDelivery.objects.select_related("endpoint").defer("endpoint__secrets")
    return sandbox.inbox.prefetch_related(Prefetch("deliveries", deliveries.order_by("pk")))


def endpoints(sandbox: Sandbox) -> QuerySet[EventEndpoint]:
    """Return the webhook endpoints that a sandbox has, as they were last read."""
    return EventEndpoint.objects.filter(sandbox=sandbox, active=True).order_by("pk")


def problem(sandbox: Sandbox) -> str:
    """Return why the events of a sandbox couldn't be read the last time; empty if they could."""
    feed = EventFeed.objects.filter(sandbox=sandbox).first()
    return feed.error if feed else ""


def replay(event: SandboxEvent) -> int:
    """Deliver an event again, under the same `webhook-id`, and return to how many endpoints.

    Called in a transaction that locks the sandbox. Raises StateConflict.
    """
    sandbox = event.sandbox
    pending = event.deliveries.filter(status=DeliveryStatus.PENDING)
    if pending.count() >= MAX_PENDING_REPLAYS:
        raise StateConflict("Too many deliveries of this event are pending. Try again later.")
    found = [one for one in endpoints(sandbox) if feeds.wants(one, event.type)]
    if not found:
        raise StateConflict(f"No webhook endpoint of this sandbox is subscribed to {event.type}.")
    feeds.enqueue([event], found)
    return len(found)


def create(sandbox: Sandbox, kind: str, object_id: str) -> str:
    """Let a sandbox record an event of a type about one of its objects; return the event's id.

    This is the developer's own request, so it counts as activity.

    Raises StateConflict, ValidationFailed, Unavailable.
    """
    offered = event_source(sandbox)
    if offered is None or not offered.create:
        raise StateConflict("The blueprint of this sandbox can't create events.")
    for field, value in (("type", kind), ("object_id", object_id)):
        if not value or len(value) > source.MAX_ID_LENGTH:
            raise ValidationFailed(field, f"Enter 1 to {source.MAX_ID_LENGTH} characters.")
    access = explorer.portal_access(sandbox, offered.endpoint, offered.secret)
    traffic: list[Traffic] = []
    body = {"type": kind, "object_id": object_id}
    try:
        answer = source.post(access, offered.create, body, traffic.append)
    finally:
        Sandbox.objects.filter(pk=sandbox.pk).record_activity(clock.now())
    return str(answer.get("id", ""))[: source.MAX_ID_LENGTH]


def set_misbehavior(endpoint: EventEndpoint, **values: Any) -> None:
    """Choose what goes wrong with deliveries to an endpoint. Raises ValidationFailed."""
    try:
        chosen = Misbehavior(**(endpoint.misbehavior | values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValidationFailed(str(first["loc"][0]), f"{first['msg']}.") from None
    endpoint.misbehavior = chosen.model_dump(exclude_defaults=True)
    endpoint.save(update_fields=["misbehavior"])
