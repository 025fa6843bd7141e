"""What holds for the whole portal, and for one user in place of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

ENGINE_AWAY = "The engine can't be reached"
"""How `Site.reaper_error` begins when a sweep saw nothing of the engine."""


class LimitOverrideQuerySet(models.QuerySet["LimitOverride"]):
    def in_force(self, now: datetime) -> LimitOverrideQuerySet:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now))


class LimitOverride(models.Model):
    """Limits for one user or one group in place of the site's, until it expires.

    Empty fields change nothing. A user's own win over those of groups, and of several groups the
    largest.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="limit_override",
    )
    group = models.OneToOneField(
        "auth.Group",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="limit_override",
        help_text="In place of a user: for everybody in it.",
    )
    max_active = models.PositiveSmallIntegerField(null=True, blank=True)
    ttl_max_minutes = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    idle_minutes = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=200)

    objects = LimitOverrideQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True)
                | Q(user__isnull=True, group__isnull=False),
                name="limits_are_of_one_user_or_of_one_group",
                violation_error_message="Choose a user or a group, and not both.",
            )
        ]

    def __str__(self) -> str:
        return f"limits of {self.user or self.group}"


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
