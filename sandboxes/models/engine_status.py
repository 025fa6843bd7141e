"""Capabilities and resources of the engine."""

from __future__ import annotations

from django.db import models

from sandboxes.models.singleton import Singleton


class EngineStatus(Singleton):
    """Capabilities and resources of the engine, as of the last sweep that reached it."""

    engine = models.CharField(max_length=60, blank=True, editable=False)
    """Name and version."""
    disk_quota_enforced = models.BooleanField(null=True, editable=False)
    """Whether the engine enforces disk limits; None until the first sweep."""
    memory_mb = models.PositiveIntegerField(null=True, editable=False)
    """Memory of the engine's host. This and the fields below are None if unknown."""
    memory_available_mb = models.PositiveIntegerField(null=True, editable=False)
    disk_total_mb = models.PositiveIntegerField(null=True, editable=False)
    disk_free_mb = models.PositiveIntegerField(null=True, editable=False)
    subnets_taken = models.PositiveIntegerField(null=True, editable=False)

    class Meta(Singleton.Meta):
        verbose_name = verbose_name_plural = "engine status"
