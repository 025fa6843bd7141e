"""Limits of failed sign-ins: a few for an account from one address, many for an account in all.

With one limit for the account, anyone could lock it. Clearing the limits starts a new generation
of counters, since the client addresses that were counted aren't known.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from allauth.core.internal import ratelimit
from django.core.cache import cache
from django.http import HttpRequest

ANY_ACCOUNT = "10/m/ip"
ONE_ACCOUNT = "5/5m/ip,100/h/key"
LONGEST_PERIOD_SECONDS = 3600


def consume(request: HttpRequest, login: str) -> list[Any] | None:
    """Count an attempt to sign in; return None if too many have failed.

    Call `rollback` of the returned usages if the attempt succeeds.
    """
    account = _digest(f"{login.lower()}:{cache.get(_generation_key(login), '')}")
    counted: list[Any] = []
    for action, rates in (
        ("sign_in_failed", ANY_ACCOUNT),
        (f"sign_in_failed:{account}", ONE_ACCOUNT),
    ):
        usage = ratelimit.consume(
            request, app="allauth.account", action=action, config={action: rates}, key=account
        )
        if usage is None:
            return None
        counted.append(usage)
    return counted


def clear(login: str) -> None:
    """Forget all failed attempts to sign in to this account."""
    cache.set(_generation_key(login), secrets.token_hex(8), LONGEST_PERIOD_SECONDS)


def _generation_key(login: str) -> str:
    return f"sign-in-generation:{_digest(login.lower())}"


def _digest(text: str) -> str:
    """Return a hash, so that the cache holds no email addresses."""
    return hashlib.sha256(text.encode()).hexdigest()
