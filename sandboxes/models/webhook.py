"""Webhooks: where a developer wants to be told, and what is told there."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.db.models import Q

from sandboxes.encryption.fields import EncryptedJSONField
from sandboxes.lib import clock
from sandboxes.models.claims import ClaimQuerySet
from sandboxes.models.sandbox import ID_ALPHABET


def _new_id(prefix: str) -> str:
    return prefix + "".join(secrets.choice(ID_ALPHABET) for _ in range(16))


def new_webhook_id() -> str:
    return _new_id("whk_")


def new_message_id() -> str:
    """No full stop in it: the signed text is told apart by them."""
    return _new_id("msg_")


class EventType(models.TextChoices):
    RUNNING = "sandbox.running", "a sandbox is ready for use"
    WARNING = "sandbox.warning", "it ends soon"
    EXTENDED = "sandbox.extended", "it was given more time"
    ENDED = "sandbox.ended", "it has ended as it should"
    FAILED = "sandbox.failed", "it could not be made, or broke"


TEST_EVENT_TYPE = "webhook.test"
"""The type of what the test button sends."""


class DisabledReason(models.TextChoices):
    OWNER = "owner", "you switched it off"
    OPERATOR = "operator", "an operator switched it off"
    FAILING = "failing", "nothing could be delivered for days"
    GONE = "gone", "its receiver answered 410, which asks for no more"


class WebhookQuerySet(ClaimQuerySet["Webhook"]):
    def enabled(self) -> WebhookQuerySet:
        """Those that are told of events, of people who may use the portal."""
        return self.filter(disabled_reason="", user__is_active=True)


_Manager = models.Manager.from_queryset(WebhookQuerySet)


class WebhookManager(_Manager["Webhook"]):
    """Leaves the secrets encrypted until a message is signed."""

    def get_queryset(self) -> WebhookQuerySet:
        return WebhookQuerySet(self.model, using=self._db).defer("secrets")


class Webhook(models.Model):
    """One address of one user, told of some types of events."""

    public_id = models.CharField(max_length=20, unique=True, default=new_webhook_id, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="webhooks",
        db_index=False,  # The constraint begins with it.
    )
    slot = models.PositiveSmallIntegerField(editable=False)
    """Which of its user's places it takes; unique, so no bug can exceed the limit."""
    name = models.CharField(max_length=60, blank=True)
    url = models.CharField(max_length=500)
    events = models.JSONField(default=list)
    """Values of EventType."""
    secrets = EncryptedJSONField(default=dict, editable=False)
    """`current`, and after a rotation `previous`, which signs too until `previous_until`."""
    previous_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    disabled_reason = models.CharField(
        max_length=8, choices=DisabledReason, blank=True, editable=False
    )
    """Empty while it is on."""
    failing_since = models.DateTimeField(null=True, editable=False)
    """When an event could not be delivered for the first time since one could."""
    leased_until = models.DateTimeField(null=True, editable=False)
    """Until then a worker is sending to it, and no other does."""

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
        """`on`, `failing` or `off`."""
        if self.disabled_reason:
            return "off"
        return "failing" if self.failing_since else "on"


class DeliveryStatus(models.TextChoices):
    PENDING = "pending", "waiting"
    DELIVERED = "delivered", "delivered"
    FAILED = "failed", "given up"


class DeliveryQuerySet(ClaimQuerySet["WebhookDelivery"]):
    def due(self, now: datetime) -> DeliveryQuerySet:
        return self.filter(due_at__lte=now)

    def newest_first(self) -> DeliveryQuerySet:
        return self.order_by("-created_at", "-id")


class WebhookDelivery(models.Model):
    """One event for one webhook: the row is the queue, and the log of what was tried."""

    message_id = models.CharField(
        max_length=20, unique=True, default=new_message_id, editable=False
    )
    """The header `webhook-id`: the same in every try."""
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
    """When it is tried next; None: it was delivered or given up."""
    attempts = models.PositiveSmallIntegerField(default=0)
    """Since it was sent, or sent again by hand: what the delay follows from."""
    log = models.JSONField(default=list)
    """Of each try: `at`, `status`, `seconds`, `error`, `response` (an excerpt)."""

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
