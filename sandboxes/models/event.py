"""What happened to a sandbox: extensions, events, samples of its consumption."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from sandboxes.lib import clock
from sandboxes.models.sandbox import Sandbox


class Extension(models.Model):
    """One grant of more time. Its owner has one; operators may grant more."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.CASCADE, related_name="extensions")
    minutes = models.PositiveSmallIntegerField()
    by_operator = models.BooleanField(default=False)
    granted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    expires_before = models.DateTimeField()
    expires_after = models.DateTimeField()
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["sandbox"],
                condition=Q(by_operator=False),
                name="one_extension_by_the_owner",
            ),
            models.CheckConstraint(
                condition=Q(expires_after__gte=models.F("expires_before")),
                name="an_extension_never_shortens",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sandbox} + {self.minutes} min"


class Event(models.Model):
    """One line of a sandbox's journal: what happened, when, by whom, why."""

    sandbox = models.ForeignKey(
        Sandbox,
        on_delete=models.CASCADE,
        related_name="events",
        db_index=False,  # `event_by_sandbox` begins with it.
    )
    at = models.DateTimeField(default=clock.now)
    kind = models.CharField(max_length=30)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    by = models.CharField(max_length=10)
    """`owner`, `operator` or `portal`."""
    message = models.TextField(blank=True)
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["sandbox", "id"], name="event_by_sandbox"),
            models.Index(fields=["kind", "id"], name="event_by_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class UsageSample(models.Model):
    """What one sandbox consumed at one moment, taken by the reaper."""

    sandbox = models.ForeignKey(
        Sandbox,
        on_delete=models.CASCADE,
        related_name="samples",
        db_index=False,  # `sample_by_sandbox` begins with it.
    )
    at = models.DateTimeField(default=clock.now, db_index=True)
    memory_mb = models.FloatField()
    cpu_seconds = models.FloatField()
    disk_mb = models.FloatField(null=True)
    received_bytes = models.BigIntegerField()
    sent_bytes = models.BigIntegerField()
    requests = models.BigIntegerField(null=True)
    """Since launch; None: not counted yet, or its blueprint doesn't tell what a request is."""
    log_read_to = models.CharField(max_length=40, blank=True)
    """Where the log had been read to for that, in the runtime's own terms."""

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index(fields=["sandbox", "id"], name="sample_by_sandbox")]

    def __str__(self) -> str:
        return f"{self.sandbox} {self.at}"
