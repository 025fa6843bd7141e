"""Results of the last sweep."""

from __future__ import annotations

from django.db import models

from sandboxes.models.singleton import Singleton


class SweepStatus(Singleton):
    """Results of the last sweep of the reaper, and its heartbeat."""

    last_sweep_at = models.DateTimeField(null=True, editable=False)
    """When the last sweep finished."""
    seconds = models.FloatField(null=True, editable=False)
    """Duration of that sweep."""
    engine_reachable = models.BooleanField(default=True, editable=False)
    expiration_limit_exceeded = models.BooleanField(default=False, editable=False)
    """Whether more sandboxes were due than one sweep may end."""
    failed_removals = models.PositiveIntegerField(default=0, editable=False)
    """Number of sandboxes that couldn't be removed."""
    last_sweep_error = models.TextField(blank=True, editable=False)
    """Error messages, for people."""
    orphans = models.JSONField(default=list, editable=False)
    """Ids of the first orphans that the sweep left on the engine."""

    class Meta(Singleton.Meta):
        verbose_name = verbose_name_plural = "sweep status"
