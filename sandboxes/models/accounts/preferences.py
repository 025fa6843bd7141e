"""Notification preferences of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models

from sandboxes.models.enums import DeadlineKind

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class Preferences(models.Model):
    """How a user is warned in addition to the banner; without a row, the defaults apply."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="preferences"
    )
    mail_idle = models.BooleanField(default=True)
    mail_expiry = models.BooleanField(default=True)
    browser = models.BooleanField(default=False)

    class Meta:
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"preferences of {self.user}"

    @classmethod
    def for_user(cls, user: User) -> Preferences:
        """Return the preferences of the user; an unsaved row if they never changed any."""
        return cls.objects.filter(user=user).first() or cls(user=user)

    def wants_mail(self, deadline_kind: str) -> bool:
        return self.mail_idle if deadline_kind == DeadlineKind.IDLE else self.mail_expiry
