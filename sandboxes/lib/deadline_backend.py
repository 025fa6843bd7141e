"""A connection on which nothing lasts longer than it may, however the bytes come.

httpcore bounds each read by itself; a server that sends a byte now and then could hold a thread
for ever.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from time import monotonic
from typing import Any

import httpcore


class DeadlineBackend(httpcore.SyncBackend):
    """Connects as usual; all that is done on its connections is over when the time is."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = monotonic() + seconds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - ours is shorter
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = super().connect_tcp(
            host, port, self.left(httpcore.ConnectTimeout), local_address, socket_options
        )
        return _Stream(stream, self)

    def left(self, error: type[httpcore.TimeoutException]) -> float:
        """Seconds until the end. Raises the error when it has passed."""
        if (left := self._ends_at - monotonic()) > 0:
            return left
        raise error


class _Stream(httpcore.NetworkStream):
    """One connection; the limits that it is called with give way to the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: DeadlineBackend) -> None:
        self._stream = stream
        self._left = deadline.left
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, self._left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        # In parts, since the limit that is set holds for each part alone.
        for start in range(0, len(buffer), 16384):
            self._stream.write(buffer[start : start + 16384], self._left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        left = self._left(httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
