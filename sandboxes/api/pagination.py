"""How programs leaf through lists: the parameters that they send, the `Link` to the next page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import P, QueryEx

# What both lists take; their defaults must be alike, since the library keeps them in these.
Limit = QueryEx[int, P(ge=1, le=100)]
Cursor = QueryEx[str, P(description="`next_cursor` of the page before.")]


def set_next_link(request: HttpRequest, response: HttpResponse, cursor: str | None) -> None:
    """Add the `Link` (RFC 8288) to the next page, if there is one."""
    if cursor:
        query = request.GET.copy()
        query["cursor"] = cursor
        url = request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
        response["Link"] = f'<{url}>; rel="next"'
