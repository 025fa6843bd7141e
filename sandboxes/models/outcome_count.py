"""How often something happened, and how long it took: kept when the rows are forgotten."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from django.db import models

ALL_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""The slot of the sums since the portal was set up, which never shrink."""


class OutcomeCount(models.Model):
    """One kind of outcome in one slot of some minutes; see `sandboxes.metrics.outcomes`."""

    slot = models.DateTimeField()
    """When the slot began, or FOREVER."""
    act = models.CharField(max_length=20)
    """`launch`, `destroy`, `engine_error`."""
    start = models.CharField(max_length=4, blank=True)
    """`warm` out of the pool, else `cold`; empty where that means nothing."""
    result = models.CharField(max_length=20)
    count = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0)
    """All of them together."""
    buckets = models.JSONField(default=list)
    """How many took up to each of `outcomes.BUCKET_BOUNDS`, and longer; each counted once."""

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["slot", "act", "start", "result"], name="one_tally_for_each_outcome"
            )
        ]

    def __str__(self) -> str:
        return f"{self.count} of {self.act} {self.start} {self.result}"
