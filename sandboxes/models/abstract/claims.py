"""Claims: of several processes that want the same row, one gets it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from django.db import models
from django.db.models import Q

from sandboxes.lib import clock

LONGEST_LEASE = timedelta(minutes=10)
"""The longest lease or pause between two attempts of most work."""

Row = TypeVar("Row", bound=models.Model)


def is_due(field: str, now: datetime, longest: timedelta = LONGEST_LEASE) -> Q:
    """Return the condition that a time isn't ahead (`clock.is_ahead`)."""
    too_far = now + longest + clock.TOLERANCE
    return Q(**{f"{field}__lte": now}) | Q(**{f"{field}__gt": too_far})


class ClaimQuerySet(models.QuerySet[Row]):
    """A queryset whose rows can be claimed by a conditional UPDATE."""

    def claim(self, pk: int, **values: Any) -> bool:
        """Update the row if it still matches this queryset; return whether it did.

        The conditions of the queryset are part of the UPDATE. So if the values make the row stop
        matching, only one of several callers succeeds.
        """
        return self.filter(pk=pk).update(**values) == 1

    def unleased(self, now: datetime, longest: timedelta = LONGEST_LEASE) -> Self:
        """Select rows that no worker has leased; `longest` is the longest lease that is given."""
        return self.filter(Q(leased_until=None) | is_due("leased_until", now, longest))
