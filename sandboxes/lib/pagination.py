"""Lists in pages: a cursor says where the last one ended, so new rows repeat and hide no others.

Whatever the place in the list, a page costs the same: an index leads to it, and nothing is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.core import signing
from django.db.models import QuerySet

from sandboxes.lib.exceptions import ValidationFailed

Row = TypeVar("Row", bound=Any)

SALT = "sandboxes.cursor"


def decode_cursor(cursor: str, kind: str) -> list[Any]:
    """What `encode_cursor` put into the cursor of this kind of list. Raises ValidationFailed."""
    try:
        values: list[Any] = signing.loads(cursor, salt=f"{SALT}.{kind}")
    except signing.BadSignature:
        raise ValidationFailed(
            "cursor", "Send next_cursor of an earlier answer, unchanged."
        ) from None
    return values


def encode_cursor(values: Sequence[Any], kind: str) -> str:
    return signing.dumps(list(values), salt=f"{SALT}.{kind}")


def paginate(
    rows: QuerySet[Row], limit: int, kind: str, position: Callable[[Row], Sequence[Any]]
) -> tuple[list[Row], str | None]:
    """The first rows, and a cursor behind the last of them when there are more."""
    found = list(rows[: limit + 1])
    page = found[:limit]
    return page, encode_cursor(position(page[-1]), kind) if len(found) > limit else None


def paginate_newest_first(
    rows: QuerySet[Row], column: str, limit: int, cursor: str, kind: str
) -> tuple[list[Row], str | None]:
    """The page behind the cursor (empty: the first), newest first by this time.

    Raises ValidationFailed.
    """
    if cursor:
        text, pk = decode_cursor(cursor, kind)
        at = datetime.fromisoformat(text)
        # Said in this way, and not with “or”, an index leads straight to the place.
        rows = rows.filter(**{f"{column}__lte": at}).exclude(**{column: at, "pk__gte": pk})
    rows = rows.order_by(f"-{column}", "-pk")
    return paginate(rows, limit, kind, lambda row: (getattr(row, column).isoformat(), row.pk))
