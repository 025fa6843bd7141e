"""Keyset pagination: a cursor marks the end of a page, so new rows neither repeat nor hide others.

All pages are equally fast, because an index leads to each one and no rows are counted.
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
    """Return the values of a cursor of this kind of list. Raises ValidationFailed."""
    try:
        values: list[Any] = _signer(kind).unsign_object(cursor)
    except (signing.BadSignature, ValueError):
        raise ValidationFailed(
            "cursor", "Invalid cursor. Send `next_cursor` of an earlier page, unchanged."
        ) from None
    return values


def encode_cursor(values: Sequence[Any], kind: str) -> str:
    """Return a signed cursor for this kind of list.

    It has no time, so that a list that hasn't changed is the same.
    """
    return _signer(kind).sign_object(list(values))


def _signer(kind: str) -> signing.Signer:
    return signing.Signer(salt=f"{SALT}.{kind}")


def paginate(
    rows: QuerySet[Row], limit: int, kind: str, position: Callable[[Row], Sequence[Any]]
) -> tuple[list[Row], str | None]:
    """Return the first rows, and a cursor to the next page if there are more."""
    candidates = list(rows[: limit + 1])
    page = candidates[:limit]
    return page, encode_cursor(position(page[-1]), kind) if len(candidates) > limit else None


def paginate_newest_first(
    rows: QuerySet[Row], column: str, limit: int, cursor: str, kind: str
) -> tuple[list[Row], str | None]:
    """Return the page after the cursor (empty: the first), newest first by this column.

    Raises ValidationFailed.
    """
    if cursor:
        text, pk = decode_cursor(cursor, kind)
        at = datetime.fromisoformat(text)
        # Expressed without OR, so that the database can use an index.
        rows = rows.filter(**{f"{column}__lte": at}).exclude(**{column: at, "pk__gte": pk})
    rows = rows.order_by(f"-{column}", "-pk")
    return paginate(rows, limit, kind, lambda row: (getattr(row, column).isoformat(), row.pk))
