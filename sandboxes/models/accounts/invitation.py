"""Invitations to create an account."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from sandboxes.lib import clock
from sandboxes.models.abstract.claims import ClaimQuerySet, is_due


def default_expiry() -> datetime:
    return clock.now() + timedelta(days=settings.ACCOUNT_INVITATION_DAYS)


class InvitationQuerySet(ClaimQuerySet["Invitation"]):
    def open(self, now: datetime) -> InvitationQuerySet:
        """Return invitations that can still be accepted."""
        return self.filter(accepted_at=None, expires_at__gt=now)

    def mail_due(self, now: datetime) -> InvitationQuerySet:
        return self.open(now).filter(is_due("mail_due_at", now))


class Invitation(models.Model):
    """An invitation of one email address to create one account while sign-up is closed."""

    email = models.EmailField()
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    expires_at = models.DateTimeField(default=default_expiry)
    mail_due_at = models.DateTimeField(null=True, editable=False)
    """When to try sending the email next; None once it was sent."""
    accepted_at = models.DateTimeField(null=True, editable=False)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
    )

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["email"], condition=Q(accepted_at=None), name="one_open_invitation"
            )
        ]

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        self.email = self.email.lower()

    @property
    def is_open(self) -> bool:
        return self.accepted_at is None and self.expires_at > clock.now()
