"""Deletion in batches, because long transactions block other work."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

BATCH_SIZE = 500
"""Rows of each kind per sweep; one sweep a minute can delete 720,000 a day."""


def delete_batch(rows: QuerySet[Any]) -> list[Any]:
    """Delete up to a batch of ordered rows and return their primary keys.

    Rows that no longer match when they are deleted are kept.
    """
    keys = list(rows.values_list("pk", flat=True)[:BATCH_SIZE])
    if keys:
        rows.filter(pk__in=keys).delete()
    return keys
