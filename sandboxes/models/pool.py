"""The warm pool: how many sandboxes of a blueprint are made before anybody asks for them."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from sandboxes.models.runtime_settings import config

MAX_AGE_LIMIT_MINUTES = 24 * 60
"""The dates in a seed are as of the day it was put in, so nothing may wait for longer."""


class Pool(models.Model):
    """What operators choose for one blueprint, in force at once; empty fields take the setting."""

    blueprint = models.CharField(max_length=40, unique=True, editable=False)
    size = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        help_text="So many are kept ready. Empty: SANDBOX_POOL_SIZE for the default blueprint, "
        "none for others.",
    )
    max_age_minutes = models.PositiveSmallIntegerField(
        "longest wait in minutes",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_AGE_LIMIT_MINUTES)],
        help_text="One that waited for so long is made anew. Empty: SANDBOX_POOL_MAX_AGE_MINUTES.",
    )
    paused = models.BooleanField(
        default=False, help_text="Hand out what is ready, and make no new ones."
    )
    switched_off = models.BooleanField(
        default=False, help_text="Nobody can launch one, and none is kept ready."
    )
    version = models.CharField(max_length=32, blank=True, editable=False)
    """What a sandbox would be made of now, as a sweep saw it last; empty: nothing can be made."""
    failures = models.PositiveSmallIntegerField(default=0, editable=False)
    """In a row; the pool waits ever longer before it tries again."""
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
        """How many it should hold."""
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
