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
"""A friendbot that asks for more patience than this is asked again all the same."""
ALREADY_FUNDED = ("already funded", "createaccountalreadyexist", "op_already_exists")


class FriendbotRejected(Exception):
    """Friendbot's answer is final; asking again would not help."""


class FriendbotRetryable(Exception):
    """No account yet, but a later try may succeed."""

    def __init__(self, message: str, retry_after: timedelta = timedelta()) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def ask_friendbot(public_key: str) -> None:
    """Have the account created and funded. Raises FriendbotRejected or FriendbotRetryable."""
    try:
        answer, text = _get(public_key)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FriendbotRetryable(f"Friendbot can't be reached ({type(error).__name__})") from error
    if answer.is_success:
        return
    if answer.status_code == HTTPStatus.BAD_REQUEST:
        if any(sign in text.lower() for sign in ALREADY_FUNDED):
            return
        raise FriendbotRejected("Friendbot refused the account (400)")
    raise FriendbotRetryable(f"Friendbot answered {answer.status_code}", _retry_after(answer))


@cache
def _client() -> httpx.Client:
    """One for each process: to read the certificates for each request would slow launches down."""
    return httpx.Client()


def _get(public_key: str) -> tuple[httpx.Response, str]:
    """The answer and the beginning of its text, in bounded time: httpx bounds only each read."""
    ends_at, body = monotonic() + TIMEOUT_SECONDS, b""
    wish = {"addr": public_key}
    with _client().stream(
        "GET", settings.FRIENDBOT_URL, params=wish, timeout=TIMEOUT_SECONDS
    ) as answer:
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES or monotonic() > ends_at:
                break
    return answer, body.decode(errors="replace")


def _retry_after(answer: httpx.Response) -> timedelta:
    value = answer.headers.get("Retry-After", "")
    seconds = float(value) if value.isdecimal() else 0.0
    return timedelta(seconds=min(seconds, MAX_RETRY_AFTER_SECONDS))
