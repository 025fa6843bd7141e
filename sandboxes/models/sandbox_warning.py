"""Warnings before a sandbox ends."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import Q

from sandboxes.lib import clock
from sandboxes.models.abstract.claims import ClaimQuerySet, is_due
from sandboxes.models.enums import DeadlineKind, State
from sandboxes.models.sandbox import Sandbox

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class SandboxWarningQuerySet(ClaimQuerySet["SandboxWarning"]):
    def mail_due(self, now: datetime) -> SandboxWarningQuerySet:
        return self.filter(is_due("mail_due_at", now))

    def active(self, user: User, now: datetime) -> SandboxWarningQuerySet:
        """Return warnings of the user's running sandboxes whose deadline is ahead or has moved."""
        mine = Q(sandbox__owner=user, sandbox__state=State.RUNNING)
        return self.filter(mine, deadline__gt=now).select_related("sandbox").order_by("deadline")


class SandboxWarning(models.Model):
    """A warning about one deadline of a sandbox.

    The row is also the queue entry of its email and records the use of the link in it. The unique
    constraint ensures that each deadline is warned about once.
    """

    sandbox = models.ForeignKey(
        Sandbox,
        on_delete=models.CASCADE,
        related_name="warnings",
        db_index=False,  # The constraint begins with it.
    )
    created_at = models.DateTimeField(default=clock.now)
    deadline_kind = models.CharField(max_length=7, choices=DeadlineKind)
    """The deadline that will end the sandbox."""
    deadline = models.DateTimeField()
    mail_due_at = models.DateTimeField(null=True)
    """When to try sending the email next; None if it was sent or there is none to send."""
    mailed_at = models.DateTimeField(null=True)
    link_used_at = models.DateTimeField(null=True)
    """When the single-use link in the email was used to keep the sandbox."""

    objects = SandboxWarningQuerySet.as_manager()

    class Meta:
        verbose_name = "warning"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["sandbox", "deadline_kind", "deadline"], name="warning_deadline_unique"
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
        return f"{self.sandbox}: {self.get_deadline_kind_display()}"

    @property
    def is_current(self) -> bool:
        """Return whether the sandbox still ends at this deadline."""
        row = self.sandbox
        now_at = row.idle_expires_at if self.deadline_kind == DeadlineKind.IDLE else row.expires_at
        return row.state == State.RUNNING and now_at == self.deadline
