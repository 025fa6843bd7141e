"""What holds for the whole portal, and for one user in place of it."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

ENGINE_AWAY = "The engine can't be reached"
"""How `Site.reaper_error` begins when a sweep saw nothing of the engine."""


class Site(models.Model):
    """One row: what holds for the whole portal, and the lock under which places are counted."""

    drained_until = models.DateTimeField(null=True, blank=True)
    drain_message = models.CharField(max_length=300, blank=True)
    tuned = models.JSONField(default=dict, blank=True)
    """Settings that operators chose in place of the environment's (`models.runtime_settings`)."""
    reaped_at = models.DateTimeField(null=True, editable=False)
    """When a sweep last ended; its heartbeat."""
    reaper_error = models.CharField(max_length=300, blank=True, editable=False)
    sweep_seconds = models.FloatField(null=True, editable=False)
    """How long that sweep took."""
    orphans = models.JSONField(default=list, editable=False)
    """What nobody needs and that sweep left on the engine: ids, the first few."""
    tallied_event = models.BigIntegerField(default=0, editable=False)
    """The last event that `sandboxes.metrics.outcomes` has counted."""
    hard_disk_limit = models.BooleanField(null=True, editable=False)
    """Whether the engine enforces the disk limit; None until a sweep has asked it."""
    engine = models.CharField(max_length=60, blank=True, editable=False)
    memory_mb = models.PositiveIntegerField(null=True, editable=False)
    """Of the engine's machine, as are the next; None where it can't be told."""
    disk_total_mb = models.PositiveIntegerField(null=True, editable=False)
    disk_free_mb = models.PositiveIntegerField(null=True, editable=False)
    memory_available_mb = models.PositiveIntegerField(null=True, editable=False)
    subnets_taken = models.PositiveIntegerField(null=True, editable=False)

    class Meta:
        verbose_name_plural = "site"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(pk=1), name="there_is_one_site")
        ]

    def __str__(self) -> str:
        return "this portal"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.pk = 1
        super().save(*args, **kwargs)

    @classmethod
    def current(cls) -> Site:
        return cls.objects.get_or_create(pk=1)[0]

    @classmethod
    def locked(cls) -> Site:
        """The row, locked until the transaction ends: whoever counts places is alone."""
        return cls.objects.select_for_update().get_or_create(pk=1)[0]


class SiteSettings(Site):
    """The same row, as the admin's page of run-time settings."""

    class Meta:
        proxy = True
        verbose_name = verbose_name_plural = "settings"
