"""Heartbeat of the workers."""

from __future__ import annotations

from django.db import models

from sandboxes.models.singleton import Singleton


class WorkerStatus(Singleton):
    """When a worker last reported that it handles messages."""

    last_heartbeat_at = models.DateTimeField(null=True, editable=False)

    class Meta(Singleton.Meta):
        verbose_name = verbose_name_plural = "worker status"
