"""An HTTP client that measures response times on one kept-alive connection, as browsers do."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any

KEEP_ALIVE_SECONDS = 8
"""Servers close connections that are idle for longer, so the client reconnects first."""


@dataclass(frozen=True)
class HttpResponse:
    """A response, and the seconds between sending the request and reading the last byte."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)


class HttpClient:
    """A client of one server. Raises OSError or HTTPException if the server doesn't respond."""

    def __init__(self, host: str, port: int, timeout: float = 75, **headers: str) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout)
        self._headers = headers
        self._used = float("-inf")

    def __call__(
        self, method: str, path: str, body: object = None, content: bytes = b"", **headers: str
    ) -> HttpResponse:
        """Send `body` as JSON, or `content` unchanged. Connecting isn't part of the time."""
        if body is not None:
            content, headers = (
                json.dumps(body).encode(),
                {"Content-Type": "application/json"} | headers,
            )
        self._connect()
        sent = {name.replace("_", "-"): value for name, value in (self._headers | headers).items()}
        began = time.perf_counter()
        try:
            self._connection.request(method, path, content or None, sent)
            response = self._connection.getresponse()
            read = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        seconds = time.perf_counter() - began
        self._used = time.monotonic()
        return HttpResponse(response.status, dict(response.getheaders()), read, seconds)

    def get(self, path: str, **headers: str) -> HttpResponse:
        return self("GET", path, None, b"", **headers)

    def close(self) -> None:
        self._connection.close()

    def _connect(self) -> None:
        if time.monotonic() - self._used > KEEP_ALIVE_SECONDS:
            self.close()
        if self._connection.sock is None:
            self._connection.connect()
