"""How people are warned before a sandbox of theirs ends, and that they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models

from sandboxes.models.enums import DeadlineKind

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class Preferences(models.Model):
    """What one user wants besides the banner, which everybody gets. Without a row, the defaults."""

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
        """Theirs; where they chose nothing yet, a row that is not saved."""
        return cls.objects.filter(user=user).first() or cls(user=user)

    def wants_mail(self, deadline_kind: str) -> bool:
        return self.mail_idle if deadline_kind == DeadlineKind.IDLE else self.mail_expiry
