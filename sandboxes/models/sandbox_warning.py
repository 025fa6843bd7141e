"""Warnings before a sandbox ends."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import Q

from sandboxes.lib import clock
from sandboxes.models.enums import DeadlineKind, State
from sandboxes.models.sandbox import Sandbox

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class SandboxWarningQuerySet(models.QuerySet["SandboxWarning"]):
    def mail_due(self, now: datetime) -> SandboxWarningQuerySet:
        return self.filter(mail_due_at__lte=now)

    def active(self, user: User, now: datetime) -> SandboxWarningQuerySet:
        """Of the user's running sandboxes, and not over; their deadlines may have moved."""
        mine = Q(sandbox__owner=user, sandbox__state=State.RUNNING)
        return self.filter(mine, deadline__gt=now).select_related("sandbox").order_by("deadline")


class SandboxWarning(models.Model):
    """One warning of one deadline. The row is the queue of its mail, and what the link in it uses
    up; the constraint stands behind “once for each deadline”."""

    sandbox = models.ForeignKey(
        Sandbox,
        on_delete=models.CASCADE,
        related_name="warnings",
        db_index=False,  # The constraint begins with it.
    )
    at = models.DateTimeField(default=clock.now)
    clock = models.CharField(max_length=7, choices=DeadlineKind)
    """Of the sandbox: which one ends it."""
    deadline = models.DateTimeField()
    mail_due_at = models.DateTimeField(null=True)
    """When sending the mail is to be tried next; None: it was sent, or there is none to send."""
    mailed_at = models.DateTimeField(null=True)
    used_at = models.DateTimeField(null=True)
    """When somebody kept the sandbox by the link in the mail, which works once."""

    objects = SandboxWarningQuerySet.as_manager()

    class Meta:
        verbose_name = "warning"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["sandbox", "clock", "deadline"], name="one_warning_for_each_deadline"
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["mail_due_at"],
                name="warning_mail_due",
                condition=Q(mail_due_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.sandbox}: {self.get_clock_display()}"

    @property
    def is_current(self) -> bool:
        """Whether the sandbox still ends at this deadline."""
        row = self.sandbox
        now_at = row.idle_expires_at if self.clock == DeadlineKind.IDLE else row.expires_at
        return row.state == State.RUNNING and now_at == self.deadline
