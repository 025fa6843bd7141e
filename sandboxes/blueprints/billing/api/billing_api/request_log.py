"""The id of each request, and the request log: one JSON object a line.

The blueprint counts these lines (`requests` in compose.yaml).
"""

from __future__ import annotations

import os
import re
import sys
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec

UNLOGGED_PATHS = {"/healthz", "/identity", "/readyz"}
"""Paths whose successful requests are not logged."""

REQUEST_ID = re.compile(r"[\w.:+/=@-]{1,128}", re.ASCII)
MAX_LENGTH = 500
"""Maximum length of a text from the request in the log, in characters."""


def request_id(environ: dict[str, Any]) -> str:
    """Return the id that the client sent, or a new one if it is missing or invalid."""
    for header in ("HTTP_REQUEST_ID", "HTTP_X_REQUEST_ID"):
        if REQUEST_ID.fullmatch(sent := environ.get(header, "")):
            return str(sent)
    return f"req_{os.urandom(12).hex()}"


def log_request(environ: dict[str, Any], status: int, request_id: str, started: float) -> None:
    """Write a line for a request; `started` is in seconds of the monotonic clock."""
    # WSGI passes bytes as Latin-1.
    path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode(errors="replace")
    # The portal marks requests that it sends on its own; they aren't the developer's.
    expected = path in UNLOGGED_PATHS or environ.get("HTTP_SANDBOX_PORTAL")
    if expected and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return
    entry = {
        "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        "method": environ.get("REQUEST_METHOD", ""),
        "path": path[:MAX_LENGTH],
        "status": status,
        "ms": round((time.monotonic() - started) * 1000, 1),
        "request_id": request_id,
        "user_agent": environ.get("HTTP_USER_AGENT", "")[:MAX_LENGTH],
    }
    sys.stdout.write(msgspec.json.encode(entry).decode() + "\n")
    sys.stdout.flush()
