"""A total deadline for everything that is done on a connection.

httpcore2 limits each read alone, so a server that sends one byte now and then could hold a thread
forever.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from time import monotonic
from typing import Any

import httpcore2

from sandboxes.lib.http import tcp_traffic
from sandboxes.lib.http.tcp_traffic import Traffic


class DeadlineBackend(httpcore2.SyncBackend):
    """Network backend whose connections all end at one deadline, in seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = monotonic() + seconds
        self.traffic = Traffic()
        """Of all connections that were closed."""
        self.max_received: float = float("inf")
        """Bytes that may be received in all, headers and the framing of bodies included."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline replaces it
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        left = self.left(httpcore2.ConnectTimeout)
        stream = super().connect_tcp(host, port, left, local_address, socket_options)
        return _Stream(stream, self)

    def left(self, error: type[httpcore2.TimeoutException]) -> float:
        """Return the seconds left. Raise the error once the deadline has passed."""
        if (left := self._ends_at - monotonic()) > 0:
            return left
        raise error


class _Stream(httpcore2.NetworkStream):
    """One connection; the deadline replaces the time limits of single calls."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: DeadlineBackend) -> None:
        self._stream = stream
        self._left = deadline.left
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        received = self._stream.read(max_bytes, self._left(httpcore2.ReadTimeout))
        self._deadline.max_received -= len(received)
        if self._deadline.max_received < 0:
            raise httpcore2.RemoteProtocolError("the response has too much besides its body")
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        # In chunks: the time limit applies to each call of the socket alone.
        for start in range(0, len(buffer), 16384):
            self._stream.write(buffer[start : start + 16384], self._left(httpcore2.WriteTimeout))

    def close(self) -> None:
        connection = self._stream.get_extra_info("socket")
        if connection is not None:
            self._deadline.traffic += tcp_traffic.measure(connection)
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore2.NetworkStream:
        left = self._left(httpcore2.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
