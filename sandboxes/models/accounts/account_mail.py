"""Emails about accounts that the mail server didn't take."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from sandboxes.encryption.fields import EncryptedJSONField
from sandboxes.lib import clock
from sandboxes.models.abstract.claims import ClaimQuerySet, is_due


class AccountMailQuerySet(ClaimQuerySet["AccountMail"]):
    def due(self, now: datetime) -> AccountMailQuerySet:
        return self.filter(is_due("due_at", now))


class AccountMail(models.Model):
    """An email that is still to be sent, such as a link to verify an address."""

    content = EncryptedJSONField()
    """`to`, `from`, `subject`, `text`, and perhaps `html`. Links in it give access to accounts."""
    created_at = models.DateTimeField(default=clock.now, db_index=True)
    due_at = models.DateTimeField(default=clock.now, db_index=True)
    """When to try sending it next."""

    objects = AccountMailQuerySet.as_manager()

    def __str__(self) -> str:
        return f"email of {self.created_at:%Y-%m-%d %H:%M} UTC"
