"""Maintenance mode of the portal."""

from __future__ import annotations

from django.db import models

from sandboxes.lib import clock
from sandboxes.models.abstract.singleton import Singleton


class Maintenance(Singleton):
    """Until when launches are paused, and the message that users see."""

    until = models.DateTimeField(null=True, blank=True)
    message = models.CharField(max_length=300, blank=True)

    class Meta(Singleton.Meta):
        verbose_name = verbose_name_plural = "maintenance"

    @property
    def is_active(self) -> bool:
        return self.until is not None and self.until > clock.now()
