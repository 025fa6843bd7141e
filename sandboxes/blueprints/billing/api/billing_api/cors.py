"""Cross-origin requests: pages of any origin may call the API.

Every request needs the API key, and cookies aren't used. So a page can only do what the key
allows.
"""

from __future__ import annotations

import re

from .web import Headers, Response

METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
"""Methods that pages may send: all, so that a page can read why a method is not allowed."""

ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, Request-Id"
"""Request headers that a preflight response allows if the browser doesn't say which it wants."""

EXPOSED_HEADERS = "Allow, Idempotent-Replayed, Location, Request-Id, Retry-After, WWW-Authenticate"

HEADERS = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
]
"""Headers of every response."""

HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
HEADER_NAMES = re.compile(rf"{HEADER_NAME}(?:[ \t]*,[ \t]*{HEADER_NAME})*")


def preflight(allow: str, asked_headers: str) -> Response:
    """Respond to an OPTIONS request; `allow` lists the methods of the path."""
    found = HEADER_NAMES.fullmatch(asked_headers.strip())
    headers: Headers = [
        ("Allow", allow),
        ("Access-Control-Allow-Methods", METHODS),
        ("Access-Control-Allow-Headers", found[0] if found else ALLOWED_HEADERS),
        ("Access-Control-Max-Age", "600"),
        ("Vary", "Access-Control-Request-Headers"),
    ]
    return Response(204, headers=headers)
