"""Journal events of sandboxes."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from sandboxes.lib import clock
from sandboxes.models.abstract.claims import ClaimQuerySet, is_due
from sandboxes.models.sandbox import Sandbox


class EventQuerySet(ClaimQuerySet["Event"]):
    def mail_due(self, now: datetime) -> EventQuerySet:
        return self.filter(is_due("mail_due_at", now))


class Event(models.Model):
    """An entry in a sandbox's journal."""

    sandbox = models.ForeignKey(
        Sandbox,
        on_delete=models.CASCADE,
        related_name="events",
        db_index=False,  # `event_by_sandbox` begins with it.
    )
    created_at = models.DateTimeField(default=clock.now)
    kind = models.CharField(max_length=30)
    """A value of `EventKind`."""
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_role = models.CharField(max_length=10)
    """`owner`, `operator` or `portal`."""
    message = models.TextField(blank=True)
    data = models.JSONField(default=dict, blank=True)
    mail_due_at = models.DateTimeField(null=True, editable=False)
    """When to try next to email the event to the owner; None if there is nothing to send."""

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["sandbox", "id"], name="event_by_sandbox"),
            models.Index(fields=["kind", "id"], name="event_by_kind"),
            models.Index(
                fields=["mail_due_at"],
                name="event_mail_due",
                condition=Q(mail_due_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"
