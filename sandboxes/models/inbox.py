"""Events that the portal reads from sandboxes, and their deliveries to webhook endpoints."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from sandboxes.encryption.fields import EncryptedJSONField
from sandboxes.lib import clock
from sandboxes.models.abstract.claims import ClaimQuerySet, is_due
from sandboxes.models.enums import State
from sandboxes.models.sandbox import Sandbox
from sandboxes.models.webhook import LONGEST_RETRY_DELAY, DeliveryStatus, new_message_id

FEED_LEASE = timedelta(seconds=45)
"""How long a worker may read from a sandbox until another one takes over."""


class EventFeedQuerySet(ClaimQuerySet["EventFeed"]):
    def unread(self, now: datetime) -> EventFeedQuerySet:
        """Select feeds of running sandboxes from which no worker reads."""
        running = self.filter(sandbox__state=State.RUNNING, sandbox__reset_requested_at=None)
        return running.unleased(now, FEED_LEASE).order_by("read_at", "pk")


class EventFeed(models.Model):
    """How far the portal has read the events of a sandbox. A reset begins a new epoch."""

    sandbox = models.OneToOneField(Sandbox, on_delete=models.CASCADE, related_name="feed")
    epoch = models.PositiveIntegerField(default=1)
    """Incremented by a reset, after which the ids of events repeat."""
    cursor = models.CharField(max_length=100, blank=True)
    """Id of the last event that was read; empty before the first."""
    read_at = models.DateTimeField(default=clock.now)
    """When it was last read; feeds are read in this order."""
    leased_until = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, blank=True)
    """Why the events couldn't be read the last time; empty if they could."""

    objects = EventFeedQuerySet.as_manager()

    def __str__(self) -> str:
        return f"events of {self.sandbox}"


class SandboxEvent(models.Model):
    """An event of a sandbox, as it is delivered."""

    sandbox = models.ForeignKey(
        Sandbox,
        on_delete=models.CASCADE,
        related_name="inbox",
        db_index=False,  # The constraint begins with it.
    )
    event_id = models.CharField(max_length=100)
    """Its id in the sandbox."""
    message_id = models.CharField(max_length=20, unique=True, default=new_message_id)
    """The header `webhook-id`, the same for every endpoint and attempt."""
    type = models.CharField(max_length=100)
    body = models.TextField()
    """The message as it is delivered."""
    received_at = models.DateTimeField(default=clock.now, db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["sandbox", "event_id"], name="sandbox_event_once")
        ]
        indexes: ClassVar = [models.Index(fields=["sandbox", "id"], name="sandbox_event_in_order")]

    def __str__(self) -> str:
        return f"{self.type} ({self.event_id})"


class EventEndpointQuerySet(ClaimQuerySet["EventEndpoint"]):
    def enabled(self) -> EventEndpointQuerySet:
        """Return endpoints of running sandboxes and active users."""
        return self.filter(sandbox__state=State.RUNNING, user__is_active=True)


_EndpointManager = models.Manager.from_queryset(EventEndpointQuerySet)


class EventEndpointManager(_EndpointManager["EventEndpoint"]):
    """A manager that defers the secrets, so that they stay encrypted until a message is signed."""

    def get_queryset(self) -> EventEndpointQuerySet:
        return EventEndpointQuerySet(self.model, using=self._db).defer("secrets")


class EventEndpoint(models.Model):
    """A webhook endpoint of a sandbox, as the portal last read it, and how it misbehaves."""

    sandbox = models.ForeignKey(
        Sandbox,
        on_delete=models.CASCADE,
        related_name="event_endpoints",
        db_index=False,  # The constraint begins with it.
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    """The owner of the sandbox; owners take turns."""
    endpoint_id = models.CharField(max_length=100)
    """Its id in the sandbox."""
    url = models.CharField(max_length=500)
    event_types = models.JSONField(default=list)
    """Patterns: `*`, `order.*` or `order.paid`."""
    secrets = EncryptedJSONField(default=dict, editable=False)
    """`current` signs the messages, and until `previous_until` also `previous`."""
    active = models.BooleanField(default=True)
    """Whether the sandbox still has it."""
    misbehavior = models.JSONField(default=dict)
    """What goes wrong on purpose; see `sandboxes.webhooks.inbox.misbehavior`."""
    leased_until = models.DateTimeField(null=True)
    last_attempt_at = models.DateTimeField(null=True)
    slow = models.BooleanField(default=False)

    objects = EventEndpointManager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["sandbox", "endpoint_id"], name="event_endpoint_once")
        ]

    def __str__(self) -> str:
        return self.url


class EventDeliveryQuerySet(ClaimQuerySet["EventDelivery"]):
    def due(self, now: datetime) -> EventDeliveryQuerySet:
        return self.filter(is_due("due_at", now, LONGEST_RETRY_DELAY))


class EventDelivery(models.Model):
    """A delivery of an event to an endpoint: the queue entry and the log of its attempts."""

    event = models.ForeignKey(SandboxEvent, on_delete=models.CASCADE, related_name="deliveries")
    endpoint = models.ForeignKey(EventEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    status = models.CharField(max_length=9, choices=DeliveryStatus, default=DeliveryStatus.PENDING)
    due_at = models.DateTimeField(null=True)
    """When to try next; None once delivered or failed permanently."""
    attempts = models.PositiveSmallIntegerField(default=0)
    log = models.JSONField(default=list)
    """Each attempt: `at`, `status`, `seconds`, `error`, `response`, `headers`, `on_purpose`."""

    objects = EventDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "event deliveries"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status=DeliveryStatus.PENDING, due_at__isnull=False)
                | ~Q(status=DeliveryStatus.PENDING) & Q(due_at__isnull=True),
                name="event_delivery_pending_has_due_at",
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["due_at"], name="event_delivery_due", condition=Q(due_at__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.endpoint}"
