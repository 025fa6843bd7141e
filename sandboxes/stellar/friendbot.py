"""Client of Friendbot, which funds Stellar test accounts.

https://developers.stellar.org/docs/learn/fundamentals/networks#friendbot
"""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from urllib.parse import urlencode

from django.conf import settings

from sandboxes.lib import http_client

TIMEOUT_SECONDS = 15.0
MAX_RESPONSE_BYTES = 64 * 1024
MAX_RETRY_AFTER_SECONDS = 3600.0
"""Upper limit for Friendbot's `Retry-After`."""
ALREADY_FUNDED = ("already funded", "createaccountalreadyexist", "op_already_exists")


class FriendbotRejected(Exception):
    """Friendbot rejected the account; a retry doesn't help."""


class FriendbotRetryable(Exception):
    """Friendbot failed temporarily; a retry may succeed."""

    def __init__(self, message: str, retry_after: timedelta = timedelta()) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def ask_friendbot(public_key: str) -> None:
    """Create and fund the account. Raises FriendbotRejected or FriendbotRetryable."""
    separator = "&" if "?" in settings.FRIENDBOT_URL else "?"
    url = f"{settings.FRIENDBOT_URL}{separator}{urlencode({'addr': public_key})}"
    try:
        response = http_client.send(
            "GET",
            url,
            limits=http_client.Limits(TIMEOUT_SECONDS, MAX_RESPONSE_BYTES, keep_partial=True),
            use_proxies=True,
        )
    except (http_client.RequestFailed, OSError, ValueError) as error:
        raise FriendbotRetryable(f"Friendbot can't be reached ({type(error).__name__})") from error
    if HTTPStatus(200) <= response.status < HTTPStatus(300):
        return
    if response.status == HTTPStatus.BAD_REQUEST:
        if any(sign in response.text.lower() for sign in ALREADY_FUNDED):
            return
        raise FriendbotRejected("Friendbot rejected the account (400)")
    raise FriendbotRetryable(f"Friendbot answered {response.status}", _retry_after(response))


def _retry_after(response: http_client.Response) -> timedelta:
    value = response.header("retry-after")
    seconds = float(value) if value.isdecimal() else 0.0
    return timedelta(seconds=min(seconds, MAX_RETRY_AFTER_SECONDS))
