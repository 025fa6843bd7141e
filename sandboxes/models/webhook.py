"""Webhook endpoints and the deliveries to them."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.db.models import Q

from sandboxes.encryption.fields import EncryptedJSONField
from sandboxes.lib import clock
from sandboxes.models.abstract.claims import ClaimQuerySet, is_due
from sandboxes.models.sandbox import ID_ALPHABET


def _new_id(prefix: str) -> str:
    return prefix + "".join(secrets.choice(ID_ALPHABET) for _ in range(16))


def new_webhook_id() -> str:
    return _new_id("whk_")


def new_message_id() -> str:
    """Return a new id without full stops, which separate the parts of the signed text."""
    return _new_id("msg_")


class EventType(models.TextChoices):
    RUNNING = "sandbox.running", "a sandbox is ready"
    WARNING = "sandbox.warning", "a sandbox ends soon"
    EXTENDED = "sandbox.extended", "a sandbox was extended"
    UNREACHABLE = "sandbox.unreachable", "a sandbox's machine is away"
    REACHABLE = "sandbox.reachable", "a sandbox is back with its machine"
    ENDED = "sandbox.ended", "a sandbox ended"
    FAILED = "sandbox.failed", "a sandbox failed"


TEST_EVENT_TYPE = "webhook.test"
"""Type of test messages."""


class DisabledReason(models.TextChoices):
    OWNER = "owner", "disabled by you"
    OPERATOR = "operator", "disabled by an operator"
    FAILING = "failing", "deliveries failed for days"
    GONE = "gone", "the endpoint responded with 410 Gone"


class WebhookQuerySet(ClaimQuerySet["Webhook"]):
    def enabled(self) -> WebhookQuerySet:
        """Return enabled webhooks of active users."""
        return self.filter(disabled_reason="", user__is_active=True)


_Manager = models.Manager.from_queryset(WebhookQuerySet)


class WebhookManager(_Manager["Webhook"]):
    """A manager that defers the secrets, so that they stay encrypted until a message is signed."""

    def get_queryset(self) -> WebhookQuerySet:
        return WebhookQuerySet(self.model, using=self._db).defer("secrets")


class Webhook(models.Model):
    """A webhook endpoint of a user and the event types that it receives."""

    public_id = models.CharField(max_length=20, unique=True, default=new_webhook_id, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="webhooks",
        db_index=False,  # The constraint begins with it.
    )
    slot = models.PositiveSmallIntegerField(editable=False)
    """Number of the slot of its user; unique, so that a bug can't exceed the limit."""
    name = models.CharField(max_length=60, blank=True)
    url = models.CharField(max_length=500)
    events = models.JSONField(default=list)
    """Values of EventType."""
    secrets = EncryptedJSONField(default=dict, editable=False)
    """`current`, and after a rotation `previous`, which also signs until `previous_until`."""
    previous_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    disabled_reason = models.CharField(
        max_length=8, choices=DisabledReason, blank=True, editable=False
    )
    """Empty while the webhook is enabled."""
    failing_since = models.DateTimeField(null=True, editable=False)
    """Time of the first failed delivery since the last successful one."""
    leased_until = models.DateTimeField(null=True, editable=False)
    """Until when one worker may send to this endpoint."""
    last_attempt_at = models.DateTimeField(null=True, editable=False)
    """When a worker last began to send to this endpoint; owners take turns by it."""
    slow = models.BooleanField(default=False, db_default=False, editable=False)
    """Whether the last attempt took long, so that the next one may, too."""

    objects = WebhookManager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "slot"], name="one_webhook_per_slot")
        ]

    def __str__(self) -> str:
        return self.name or urlsplit(self.url).hostname or self.public_id

    @property
    def is_enabled(self) -> bool:
        return not self.disabled_reason

    @property
    def status(self) -> str:
        """The status: `on`, `failing` or `off`."""
        if self.disabled_reason:
            return "off"
        return "failing" if self.failing_since else "on"


LONGEST_RETRY_DELAY = timedelta(hours=27)
"""The longest delay between two attempts, with its jitter."""


class DeliveryStatus(models.TextChoices):
    PENDING = "pending", "pending"
    DELIVERED = "delivered", "delivered"
    FAILED = "failed", "failed permanently"


class DeliveryQuerySet(ClaimQuerySet["WebhookDelivery"]):
    def due(self, now: datetime) -> DeliveryQuerySet:
        return self.filter(is_due("due_at", now, LONGEST_RETRY_DELAY))

    def newest_first(self) -> DeliveryQuerySet:
        return self.order_by("-created_at", "-id")


class WebhookDelivery(models.Model):
    """A delivery of an event to a webhook: the queue entry and the log of its attempts."""

    message_id = models.CharField(
        max_length=20, unique=True, default=new_message_id, editable=False
    )
    """The header `webhook-id`, the same for every attempt."""
    webhook = models.ForeignKey(
        Webhook,
        on_delete=models.CASCADE,
        related_name="deliveries",
        db_index=False,  # `delivery_by_webhook` begins with it.
    )
    type = models.CharField(max_length=30)
    facts = models.JSONField(null=True, editable=False)
    """What the message is about, until it is rendered."""
    body = models.TextField(blank=True)
    """The message as it is sent, rendered before the first attempt."""
    created_at = models.DateTimeField(default=clock.now)
    status = models.CharField(
        max_length=9, choices=DeliveryStatus, default=DeliveryStatus.PENDING, editable=False
    )
    due_at = models.DateTimeField(null=True)
    """When to try next; None once delivered or failed permanently."""
    attempts = models.PositiveSmallIntegerField(default=0)
    """Number of attempts since it was queued or resent; the retry delay depends on it."""
    log = models.JSONField(default=list)
    """Each attempt: `at`, `status`, `seconds`, `error`, `response` (an excerpt)."""

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = "delivery"
        verbose_name_plural = "deliveries"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status=DeliveryStatus.PENDING, due_at__isnull=False)
                | ~Q(status=DeliveryStatus.PENDING) & Q(due_at__isnull=True),
                name="delivery_pending_has_due_at",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["webhook", "-created_at", "-id"], name="delivery_by_webhook"),
            models.Index(fields=["created_at"], name="delivery_by_age"),
            models.Index(fields=["due_at"], name="delivery_due", condition=Q(due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.type} ({self.message_id})"
