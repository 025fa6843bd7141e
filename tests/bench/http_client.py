"""HTTP with a watch: one client with one connection that is kept open, as browsers keep it."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any

KEPT_SECONDS = 8
"""Servers close a connection that has been silent for longer, so a new one is made beforehand."""


@dataclass(frozen=True)
class Answer:
    """What came back, and how many seconds after the request was sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """Calls one server. Raises OSError or HTTPException where no answer comes."""

    def __init__(self, host: str, port: int, timeout: float = 75, **headers: str) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout)
        self._headers = headers
        self._used = float("-inf")

    def __call__(
        self, method: str, path: str, body: object = None, content: bytes = b"", **headers: str
    ) -> Answer:
        """Send `body` as JSON, or `content` as it is; connecting is not counted."""
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
            answer = self._connection.getresponse()
            read = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        seconds = time.perf_counter() - began
        self._used = time.monotonic()
        return Answer(answer.status, dict(answer.getheaders()), read, seconds)

    def get(self, path: str, **headers: str) -> Answer:
        return self("GET", path, None, b"", **headers)

    def close(self) -> None:
        self._connection.close()

    def _connect(self) -> None:
        if time.monotonic() - self._used > KEPT_SECONDS:
            self.close()
        if self._connection.sock is None:
            self._connection.connect()
