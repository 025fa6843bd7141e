"""Claims: of several processes that want the same row, one gets it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self, TypeVar

from django.db import models
from django.db.models import Q

Row = TypeVar("Row", bound=models.Model)


class ClaimQuerySet(models.QuerySet[Row]):
    """A queryset whose rows can be claimed by a conditional UPDATE."""

    def claim(self, pk: int, **values: Any) -> bool:
        """Update the row if it still matches this queryset; return whether it did.

        The conditions of the queryset are part of the UPDATE, so of several callers whose values
        make the row match no more, one succeeds.
        """
        return self.filter(pk=pk).update(**values) == 1

    def unleased(self, now: datetime) -> Self:
        """Select rows that no worker has leased."""
        return self.filter(Q(leased_until=None) | Q(leased_until__lte=now))
