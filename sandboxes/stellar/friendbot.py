"""Client of Friendbot, which funds Stellar test accounts.

https://developers.stellar.org/docs/learn/fundamentals/networks#friendbot
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from http import HTTPStatus
from time import monotonic

import httpx
from django.conf import settings

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
    """Create and fund the account. Raise FriendbotRejected or FriendbotRetryable."""
    try:
        response, text = _get(public_key)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FriendbotRetryable(f"Friendbot can't be reached ({type(error).__name__})") from error
    if response.is_success:
        return
    if response.status_code == HTTPStatus.BAD_REQUEST:
        if any(phrase in text.lower() for phrase in ALREADY_FUNDED):
            return
        raise FriendbotRejected("Friendbot rejected the account (400)")
    raise FriendbotRetryable(f"Friendbot answered {response.status_code}", _retry_after(response))


@cache
def _client() -> httpx.Client:
    """Return the client of this process. Loading certificates on each request is slow."""
    return httpx.Client()


def _get(public_key: str) -> tuple[httpx.Response, str]:
    """Return the response and the beginning of its body.

    Enforces a total time limit; httpx limits only each read.
    """
    deadline, body = monotonic() + TIMEOUT_SECONDS, b""
    params = {"addr": public_key}
    with _client().stream(
        "GET", settings.FRIENDBOT_URL, params=params, timeout=TIMEOUT_SECONDS
    ) as response:
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES or monotonic() > deadline:
                break
    return response, body.decode(errors="replace")


def _retry_after(response: httpx.Response) -> timedelta:
    value = response.headers.get("Retry-After", "")
    seconds = float(value) if value.isdecimal() else 0.0
    return timedelta(seconds=min(seconds, MAX_RETRY_AFTER_SECONDS))
