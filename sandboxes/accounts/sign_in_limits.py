"""Limits of failed sign-ins: a few for an account from one address, many for an account in all.

What is typed is counted, and so is the account that it belongs to, since an account can have
several addresses. Only the first is reported: a refusal because of the account looks like a wrong
password, or it would tell which addresses belong to accounts.

With these limits alone, anyone could keep an account locked. So a browser in which the account has
been signed in to has a limit of its own, and is not affected by the others. Clearing the limits
starts a new generation of counters, since the client addresses that were counted aren't known.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allauth.account.utils import filter_users_by_email
from allauth.core.internal import ratelimit
from django.core.cache import cache
from django.http import HttpRequest

from sandboxes.accounts import known_browsers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import User

ANY_ACCOUNT = "10/m/ip"
ONE_ACCOUNT = "5/5m/ip,100/h/key"
KNOWN_BROWSER = "5/5m/key"
LONGEST_PERIOD_SECONDS = 3600


@dataclass(frozen=True)
class Attempt:
    """An attempt to sign in that has been counted."""

    usages: tuple[ratelimit.RateLimitUsage, ...]
    is_refused: bool
    """Whether to respond as if the password were wrong, even if it is right."""

    def succeed(self) -> None:
        """Stop counting the attempt."""
        for usage in self.usages:
            usage.rollback()


def consume(request: HttpRequest, login: str) -> Attempt | None:
    """Count an attempt to sign in; return None if too many have failed."""
    users: list[User] = filter_users_by_email(login)
    if browser := known_browsers.recognize(request, users):
        usages = [_count(request, KNOWN_BROWSER, f"browser:{browser}")]
        return None if None in usages else _attempt(usages)
    usages = [_count(request, ANY_ACCOUNT), _count(request, ONE_ACCOUNT, _name_key(login))]
    if None in usages:
        return None
    # An address without an account is counted like one with an account, so that both take as long.
    accounts = [_account_key(user) for user in users] or [f"no-account:{_name_key(login)}"]
    return _attempt([*usages, *(_count(request, ONE_ACCOUNT, account) for account in accounts)])


def clear(login: str) -> None:
    """Forget all failed attempts to sign in with this address, and to its account."""
    users: list[User] = filter_users_by_email(login)
    for key in (_name_key(login), *map(_account_key, users)):
        cache.set(_generation_key(key), secrets.token_hex(8), LONGEST_PERIOD_SECONDS)


def _attempt(usages: Iterable[ratelimit.RateLimitUsage | None]) -> Attempt:
    usages = tuple(usages)
    return Attempt(tuple(usage for usage in usages if usage), is_refused=None in usages)


def _count(request: HttpRequest, rates: str, key: str = "any") -> ratelimit.RateLimitUsage | None:
    digest = _digest(f"{key}:{cache.get(_generation_key(key), '')}")
    action = f"sign_in_failed:{digest}"
    return ratelimit.consume(
        request, app="allauth.account", action=action, config={action: rates}, key=digest
    )


def _name_key(login: str) -> str:
    return f"name:{login.strip().casefold()}"


def _account_key(user: User) -> str:
    return f"account:{user.pk}"


def _generation_key(key: str) -> str:
    return f"sign-in-generation:{_digest(key)}"


def _digest(text: str) -> str:
    """Return a hash, so that the cache holds no email addresses."""
    return hashlib.sha256(text.encode()).hexdigest()
