"""Extensions of a sandbox's lifetime."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from sandboxes.lib import clock
from sandboxes.models.sandbox import Sandbox


class Extension(models.Model):
    """An extension of a sandbox. Owners can extend once, operators any number of times."""

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
                name="extension_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sandbox} + {self.minutes} min"
