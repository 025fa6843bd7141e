"""Limits for a user or a group that override the portal's."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q


class LimitOverrideQuerySet(models.QuerySet["LimitOverride"]):
    def in_force(self, now: datetime) -> LimitOverrideQuerySet:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now))


class LimitOverride(models.Model):
    """Limits for a user or a group that override the portal's until they expire.

    Empty fields override nothing. Limits of a user take precedence over those of groups; of several
    groups, the highest applies.
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
        help_text="Instead of a user: applies to all members.",
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
                name="limitoverride_user_xor_group",
                violation_error_message="Choose either a user or a group.",
            )
        ]

    def __str__(self) -> str:
        return f"limits of {self.user or self.group}"
