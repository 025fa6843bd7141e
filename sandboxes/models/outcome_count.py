"""Counts and durations of outcomes, kept when the rows that they come from are deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from django.db import models

from sandboxes.models.abstract.singleton import Singleton

ALL_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""`bucket_start` of the totals since the portal was set up, which never shrink."""


class OutcomeCount(models.Model):
    """Count of one kind of outcome in a few minutes; see `sandboxes.metrics.outcomes`."""

    bucket_start = models.DateTimeField()
    """Start of the interval, or `ALL_TIME`."""
    operation = models.CharField(max_length=20)
    """`launch`, `destroy`, `engine_error`."""
    launch_kind = models.CharField(max_length=4, blank=True)
    """`warm` if launched from the pool, `cold` if not; empty where it doesn't apply."""
    result = models.CharField(max_length=20)
    count = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0)
    """Total duration."""
    buckets = models.JSONField(default=list)
    """Histogram over `outcomes.BUCKET_BOUNDS`, with a last bucket for longer durations."""

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["bucket_start", "operation", "launch_kind", "result"],
                name="outcomecount_key_unique",
            )
        ]

    def __str__(self) -> str:
        return f"{self.count} of {self.operation} {self.launch_kind} {self.result}"


class OutcomeCursor(Singleton):
    """How far the journal has been aggregated into outcome counts."""

    last_event_id = models.BigIntegerField(default=0, editable=False)
