"""The warm pool: how many sandboxes of a blueprint are provisioned in advance."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from sandboxes.models.runtime_settings import config

MAX_AGE_LIMIT_MINUTES = 24 * 60
"""Limit of the age of pooled sandboxes, since seed data contains dates relative to its day."""


class Pool(models.Model):
    """Pool settings of a blueprint, effective immediately; empty fields use the global settings."""

    blueprint = models.CharField(max_length=40, unique=True, editable=False)
    size = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        help_text="Number of sandboxes to keep ready. If empty, SANDBOX_POOL_SIZE for the default "
        "blueprint, and 0 for others.",
    )
    max_age_minutes = models.PositiveSmallIntegerField(
        "maximum age in minutes",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_AGE_LIMIT_MINUTES)],
        help_text="Older sandboxes are replaced. If empty, SANDBOX_POOL_MAX_AGE_MINUTES.",
    )
    paused = models.BooleanField(
        default=False, help_text="Use the ready sandboxes, but don't provision more."
    )
    switched_off = models.BooleanField(
        default=False, help_text="Disable launches of this blueprint, and keep no sandboxes ready."
    )
    version = models.CharField(max_length=32, blank=True, editable=False)
    """Version of the blueprint and its images as of the last sweep; empty if images are missing."""
    failures = models.PositiveSmallIntegerField(default=0, editable=False)
    """Number of consecutive failures; the delay before the next attempt grows with it."""
    retry_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(max_age_minutes__isnull=True)
                | Q(max_age_minutes__gte=1, max_age_minutes__lte=MAX_AGE_LIMIT_MINUTES),
                name="pool_max_age_one_day",
            ),
        ]

    def __str__(self) -> str:
        return f"pool of {self.blueprint}"

    @property
    def target_size(self) -> int:
        """The number of sandboxes that the pool should hold."""
        if self.switched_off:
            return 0
        if self.size is not None:
            return self.size
        is_default = self.blueprint == config.SANDBOX_DEFAULT_BLUEPRINT
        return int(config.SANDBOX_POOL_SIZE) if is_default else 0

    @property
    def max_age(self) -> timedelta:
        minutes = self.max_age_minutes or config.SANDBOX_POOL_MAX_AGE_MINUTES
        return timedelta(minutes=minutes)
