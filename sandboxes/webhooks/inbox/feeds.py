"""Feeds of running sandboxes: what was read is stored, with a delivery for each endpoint."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from sandboxes import blueprints
from sandboxes.core.journal import event_recorded
from sandboxes.lib import clock
from sandboxes.models import (
    DeliveryStatus,
    Event,
    EventDelivery,
    EventEndpoint,
    EventFeed,
    EventKind,
    Sandbox,
    SandboxEvent,
    SavePoint,
    State,
)
from sandboxes.models.abstract.batch_delete import delete_batch
from sandboxes.webhooks.inbox import tasks
from sandboxes.webhooks.inbox.misbehavior import Misbehavior
from sandboxes.webhooks.inbox.source import Page, ReadEndpoint
from sandboxes.worker import stellar

MAX_KEPT = 1000
"""Events of a sandbox that are kept; older ones that are delivered are deleted."""
MAX_PENDING = 1000
"""Number of pending deliveries of a sandbox at which reading its events pauses."""


def connect() -> None:
    """Subscribe to the journal; called once when the app is ready."""
    event_recorded.connect(_follow_journal, dispatch_uid="sandbox_event_feeds")


def _follow_journal(event: Event, **_: Any) -> None:
    match event.kind:
        case EventKind.POOLED:
            begin(event.sandbox)
        case EventKind.RUNNING if not event.sandbox.from_pool:
            begin(event.sandbox)
        case EventKind.RESET:
            restart(event.sandbox)
        case EventKind.RESTORED:
            save_point = SavePoint.objects.filter(public_id=event.data["save_point"]).first()
            restart(event.sandbox, save_point.event_cursor if save_point else "")
        case EventKind.ENDING | EventKind.DESTROYED | EventKind.FAILED:
            end(event.sandbox)


def begin(sandbox: Sandbox) -> None:
    """Start reading the events of a sandbox, if its blueprint offers them."""
    blueprint = blueprints.find_for_sandbox(sandbox)
    if blueprint and blueprint.events:
        # Events from before the save point were those of another sandbox.
        cursor = sandbox.launched_from.event_cursor if sandbox.launched_from else ""
        feed = EventFeed(sandbox=sandbox, cursor=cursor)
        EventFeed.objects.bulk_create([feed], ignore_conflicts=True)


@transaction.atomic
def restart(sandbox: Sandbox, cursor: str = "") -> None:
    """Delete events and endpoints after a reset, and read again from the first event.

    After a restoration, read from the event after `cursor`: the last one that had been read when
    the sandbox was saved.
    """
    feed = EventFeed.objects.select_for_update().filter(sandbox=sandbox).first()
    if feed is None:
        return
    SandboxEvent.objects.filter(sandbox=sandbox).delete()
    EventEndpoint.objects.filter(sandbox=sandbox).delete()
    feed.epoch, feed.cursor, feed.error, feed.leased_until = feed.epoch + 1, cursor, "", None
    feed.save(update_fields=["epoch", "cursor", "error", "leased_until"])


def end(sandbox: Sandbox) -> None:
    """Stop all deliveries of a sandbox, and delete the secrets of its endpoints."""
    pending = EventDelivery.objects.filter(event__sandbox=sandbox, status=DeliveryStatus.PENDING)
    pending.update(status=DeliveryStatus.FAILED, due_at=None)
    EventEndpoint.objects.filter(sandbox=sandbox).update(secrets={}, active=False)


@transaction.atomic
def store(feed_id: int, epoch: int, page: Page) -> int:
    """Store what was read in an epoch, and return how many events are new.

    A reset meanwhile changes the epoch or is about to, so that nothing is stored.
    """
    feed = EventFeed.objects.select_for_update().filter(pk=feed_id, epoch=epoch).first()
    if feed is None:
        return 0
    sandbox = Sandbox.objects.get(pk=feed.sandbox_id)
    if sandbox.state != State.RUNNING or sandbox.reset_requested_at is not None:
        return 0
    if page.is_unknown_cursor:
        restart(sandbox)
        return 0
    if not page.events:
        return 0
    known = SandboxEvent.objects.filter(sandbox=sandbox)
    seen = set(
        known.filter(event_id__in=[one.id for one in page.events]).values_list(
            "event_id", flat=True
        )
    )
    now = clock.now()
    events = SandboxEvent.objects.bulk_create(
        SandboxEvent(
            sandbox=sandbox, event_id=one.id, type=one.type, body=one.body, received_at=now
        )
        for one in page.events
        if one.id not in seen
    )
    endpoints = _update_endpoints(sandbox, page.endpoints) if sandbox.owner_id else []
    enqueue(events, endpoints)
    if events:
        # From now on, the sandbox may wait for a transfer to its account.
        stellar.request_check(sandbox)
    _trim(sandbox)
    feed.cursor, feed.error = page.events[-1].id, ""
    feed.save(update_fields=["cursor", "error"])
    return len(events)


def _update_endpoints(sandbox: Sandbox, found: list[ReadEndpoint]) -> list[EventEndpoint]:
    """Make the rows of a sandbox's endpoints agree with what was read; return the current ones."""
    assert sandbox.owner_id
    rows = EventEndpoint.objects.filter(sandbox=sandbox)
    rows.exclude(endpoint_id__in=[one.id for one in found]).update(active=False)
    current = []
    for one in found:
        values = {
            "user_id": sandbox.owner_id,
            "url": one.url,
            "event_types": one.event_types,
            "secrets": _secrets(one),
            "active": True,
        }
        row, _ = EventEndpoint.objects.update_or_create(
            sandbox=sandbox, endpoint_id=one.id, defaults=values
        )
        current.append(row)
    return current


def _secrets(endpoint: ReadEndpoint) -> dict[str, str]:
    found = {"current": endpoint.secret}
    if endpoint.previous_secret and endpoint.previous_secret_until:
        until = endpoint.previous_secret_until.isoformat()
        found |= {"previous": endpoint.previous_secret, "previous_until": until}
    return found


def enqueue(events: list[SandboxEvent], endpoints: list[EventEndpoint]) -> int:
    """Queue each event for each endpoint that wants it; return the number of deliveries."""
    now = clock.now()
    deliveries = [
        EventDelivery(event=event, endpoint=endpoint, due_at=due_at)
        for event in events
        for endpoint in endpoints
        if wants(endpoint, event.type)
        for due_at in Misbehavior(**endpoint.misbehavior).due_times(now)
    ]
    if deliveries:
        EventDelivery.objects.bulk_create(deliveries)
        tasks.schedule_delivery()
    return len(deliveries)


def wants(endpoint: EventEndpoint, kind: str) -> bool:
    """Return whether an endpoint receives events of a type."""
    return any(
        pattern in ("*", kind)
        or (pattern.endswith(".*") and kind.startswith(pattern.removesuffix("*")))
        for pattern in endpoint.event_types
    )


def is_full(sandbox_id: int) -> bool:
    """Return whether reading must pause, because too many deliveries of a sandbox are pending."""
    pending = EventDelivery.objects.filter(event__sandbox=sandbox_id, status=DeliveryStatus.PENDING)
    return pending.count() >= MAX_PENDING


def prune() -> None:
    """Delete a batch of old events, except those that are still to be delivered."""
    oldest = clock.now() - timedelta(days=settings.WEBHOOK_LOG_DAYS)
    _delete(SandboxEvent.objects.filter(received_at__lt=oldest))


def _trim(sandbox: Sandbox) -> None:
    """Keep only the newest events of a sandbox."""
    newest = SandboxEvent.objects.filter(sandbox=sandbox).order_by("-pk")
    last = newest.values_list("pk", flat=True)[MAX_KEPT : MAX_KEPT + 1].first()
    if last is not None:
        _delete(SandboxEvent.objects.filter(sandbox=sandbox, pk__lte=last))


def _delete(events: QuerySet[SandboxEvent]) -> None:
    waiting = EventDelivery.objects.filter(event=OuterRef("pk"), status=DeliveryStatus.PENDING)
    delete_batch(events.exclude(Exists(waiting)).order_by("pk"))
