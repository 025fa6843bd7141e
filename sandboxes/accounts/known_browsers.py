"""Browsers in which a user has signed in or set the password: a signed cookie.

A new password makes the cookies of other browsers void.

See OWASP's “Slow Down Online Guessing Attacks with Device Cookies”.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import User

COOKIE = "known_browser"
MAX_AGE_SECONDS = 365 * 24 * 3600


def note(request: HttpRequest, user: User, **_: Any) -> None:
    """Let the browser prove later that it is the user's, with a cookie in the response."""
    request.META["portal.browser_of"] = user


def set_cookie(request: HttpRequest, response: HttpResponse) -> None:
    """Set the cookie if the request has signed a user in or set the password."""
    if not (user := request.META.get("portal.browser_of")):
        return
    response.set_signed_cookie(
        COOKIE,
        secrets.token_hex(16),
        salt=_salt(user),
        max_age=MAX_AGE_SECONDS,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def recognize(request: HttpRequest, users: Iterable[User]) -> str:
    """Return the browser's id if it is one of the users', or an empty string."""
    for user in users:
        browser = request.get_signed_cookie(
            COOKIE, default="", salt=_salt(user), max_age=MAX_AGE_SECONDS
        )
        if browser:
            return str(browser)
    return ""


def _salt(user: User) -> str:
    return f"known-browser:{user.pk}:{user.get_session_auth_hash()}"
