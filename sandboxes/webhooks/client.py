"""One POST to a stranger's server: to a checked address, in bounded time, no redirects."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpcore

from sandboxes.lib.deadline_backend import DeadlineBackend
from sandboxes.webhooks.url_policy import resolve

TIMEOUT_SECONDS = 15.0
"""For all of it; what Standard Webhooks' best known sender gives a receiver."""
CONNECT_TIMEOUT_SECONDS = 5.0
MAX_RESPONSE_BYTES = 16 * 1024
"""Bytes that are read of the body; the rest is nobody's business."""


@dataclass(frozen=True)
class DeliveryResponse:
    status: int
    text: str
    retry_after: str


class DeliveryError(Exception):
    """No answer: the message says why, in words that its owner may read."""


def post(url: str, headers: Mapping[str, str], body: bytes) -> DeliveryResponse:
    """Send it once. Raises DeliveryError."""
    # A pool of one for each: a connection that was checked for one name serves no other.
    backend = _PublicAddressBackend(TIMEOUT_SECONDS)
    try:
        with httpcore.ConnectionPool(_certificates(), network_backend=backend) as pool:
            return _exchange(pool, url, headers, body)
    except OSError as error:
        raise DeliveryError(f"It can't be reached: {error}") from error
    except (httpcore.TimeoutException, TimeoutError) as error:
        raise DeliveryError(f"No answer within {TIMEOUT_SECONDS:.0f} s") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise DeliveryError(f"It can't be reached: {error or type(error).__name__}") from error


def _exchange(
    pool: httpcore.ConnectionPool, url: str, headers: Mapping[str, str], body: bytes
) -> DeliveryResponse:
    waits = {"connect": CONNECT_TIMEOUT_SECONDS, "read": TIMEOUT_SECONDS, "write": TIMEOUT_SECONDS}
    sent = list(headers.items())
    with pool.stream(
        "POST", url, headers=sent, content=body, extensions={"timeout": waits}
    ) as answer:
        text = b""
        for chunk in answer.iter_stream():
            text += chunk
            if len(text) > MAX_RESPONSE_BYTES:
                break
        wish = {name.lower(): value for name, value in answer.headers}.get(b"retry-after", b"")
        return DeliveryResponse(
            answer.status, text.decode(errors="replace"), wish.decode("latin-1")
        )


@cache
def _certificates() -> ssl.SSLContext:
    return httpcore.default_ssl_context()


class _PublicAddressBackend(DeadlineBackend):
    """Connects to addresses that were checked, until the deadline."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        for address in (addresses := resolve(host, port)):
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if address == addresses[-1]:
                    raise
        raise httpcore.ConnectError("it has no address")
