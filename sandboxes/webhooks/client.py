"""Deliver one webhook message: to a verified address, within a time limit, without redirects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpcore2

from sandboxes.lib.http import client as http_client
from sandboxes.lib.http.deadline_backend import DeadlineBackend
from sandboxes.webhooks.url_policy import resolve

TIMEOUT_SECONDS = 15.0
"""Total time limit of one delivery; the same as the best known sender of Standard Webhooks."""
MAX_RESPONSE_BYTES = 16 * 1024


@dataclass(frozen=True)
class DeliveryResponse:
    """The receiver's response, its body cut to MAX_RESPONSE_BYTES."""

    status: int
    text: str
    retry_after: str


class DeliveryError(Exception):
    """The request got no response. The message is shown to the owner of the webhook."""


class _PublicAddressBackend(DeadlineBackend):
    """Backend that connects only to addresses that the URL policy allows, until the deadline."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        left = self.left(httpcore2.ConnectTimeout)
        for address in (addresses := resolve(host, port, left)):
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if address == addresses[-1]:
                    raise
        raise httpcore2.ConnectError("the host has no address")


def post(url: str, headers: Mapping[str, str], body: bytes) -> DeliveryResponse:
    """Send the message once. Raises DeliveryError."""
    try:
        response = http_client.send(
            "POST",
            url,
            headers=list(headers.items()),
            body=body,
            limits=http_client.Limits(TIMEOUT_SECONDS, MAX_RESPONSE_BYTES),
            backend=_PublicAddressBackend,
        )
    except (http_client.TimedOut, TimeoutError) as error:
        raise DeliveryError(f"No response within {TIMEOUT_SECONDS:.0f} s") from error
    except (http_client.RequestFailed, OSError, ValueError) as error:
        raise DeliveryError(f"Couldn't connect: {error}") from error
    return DeliveryResponse(response.status, response.text, response.header("retry-after"))
