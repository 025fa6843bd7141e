"""Idempotency keys of launches."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models

from sandboxes.lib import clock
from sandboxes.models.sandbox import Sandbox

IDEMPOTENCY_KEY_RETENTION = timedelta(hours=24)


class IdempotencyKey(models.Model):
    """An `Idempotency-Key` and the sandbox that it launched."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    sandbox = models.ForeignKey(Sandbox, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=clock.now, db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "key"], name="one_launch_per_idempotency_key")
        ]

    def __str__(self) -> str:
        return self.key
