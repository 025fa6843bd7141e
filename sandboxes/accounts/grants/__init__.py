"""Grants of the token endpoint, and what they share: refusals and rate limits.

A client gets an API token by a code that its user approves (`device_authorization`), or by the
identity token of a CI job (`identity_tokens`).
"""

from __future__ import annotations

from allauth.core.internal import ratelimit
from django.http import HttpRequest


class AuthorizationError(Exception):
    """A refusal with the error code of RFC 8628, section 3.5, or RFC 6749, section 5.2."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class TooManyAttempts(Exception):
    """The rate limit of an address or a user is reached."""


def count(
    request: HttpRequest, action: str, rates: str, key: str | None = None
) -> ratelimit.RateLimitUsage | None:
    """Count a request, by address unless there is a key; None if the limit is reached."""
    return ratelimit.consume(
        request,
        app="allauth.account",
        action=action,
        config={action: rates},
        key=key,
        limit_get=True,
    )
