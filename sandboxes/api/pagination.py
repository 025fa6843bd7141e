"""Pagination of lists: the query parameters, and the `Link` header to the next page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import P, QueryEx

# django-ninja stores the default in these objects, so it must be the same in all lists.
Limit = QueryEx[int, P(ge=1, le=100)]
Cursor = QueryEx[str, P(description="`next_cursor` of the previous page.")]


def set_next_link(request: HttpRequest, response: HttpResponse, cursor: str | None) -> None:
    """Add the `Link` header (RFC 8288) to the next page, if there is one."""
    if cursor:
        query = request.GET.copy()
        query["cursor"] = cursor
        url = request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
        response["Link"] = f'<{url}>; rel="next"'
