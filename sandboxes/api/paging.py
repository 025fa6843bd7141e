"""Lists come in pages: a cursor says where the last one ended, a `Link` leads to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.core import signing
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import P, QueryEx

from sandboxes.errors import Invalid

Row = TypeVar("Row", bound=Any)

# What both lists take; their defaults must be alike, since the library keeps them in these.
Limit = QueryEx[int, P(ge=1, le=100)]
Cursor = QueryEx[str, P(description="`next_cursor` of the page before.")]
SALT = "sandboxes.api.cursor"


def read_cursor(cursor: str, kind: str) -> list[Any]:
    """What `write_cursor` put into the cursor of this kind of list. Raises Invalid."""
    try:
        values: list[Any] = signing.loads(cursor, salt=f"{SALT}.{kind}")
    except signing.BadSignature:
        raise Invalid("cursor", "Send next_cursor of an earlier answer, unchanged.") from None
    return values


def write_cursor(values: Sequence[Any], kind: str) -> str:
    return signing.dumps(list(values), salt=f"{SALT}.{kind}")


def take_page(
    rows: QuerySet[Row], limit: int, kind: str, position: Callable[[Row], Sequence[Any]]
) -> tuple[list[Row], str | None]:
    """The first rows, and a cursor behind the last of them when there are more."""
    found = list(rows[: limit + 1])
    page = found[:limit]
    return page, write_cursor(position(page[-1]), kind) if len(found) > limit else None


def link_next(request: HttpRequest, response: HttpResponse, cursor: str | None) -> None:
    """Add the `Link` (RFC 8288) to the next page, if there is one."""
    if cursor:
        query = request.GET.copy()
        query["cursor"] = cursor
        url = request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
        response["Link"] = f'<{url}>; rel="next"'
