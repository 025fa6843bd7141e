"""Keep allauth's list of user sessions in step with Django's, and tell ended from new sessions."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import TYPE_CHECKING, Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SIGNED_IN_COOKIE = "signed_in"
"""Set from sign-in to sign-out. Without a session, it means that the session expired."""
SIGNED_IN_COOKIE_AGE = 365 * 24 * 3600
"""In seconds."""


def delete_user_sessions(keys: Collection[str]) -> None:
    """Delete these sessions from the lists of their users."""
    if keys:
        UserSession.objects.filter(session_key__in=keys).delete()


def delete_current_session(request: HttpRequest, **_: Any) -> None:
    """Delete the current session from the list when the user signs out."""
    if key := request.session.session_key:
        delete_user_sessions([key])


def note_sign_in(request: HttpRequest, **_: Any) -> None:
    request.META["portal.signed_in"] = True


def note_sign_out(request: HttpRequest, **_: Any) -> None:
    request.META["portal.signed_in"] = False


def change(request: HttpRequest) -> bool | None:
    """Return whether the request signed a user in (True) or out (False); None if neither."""
    return request.META.get("portal.signed_in")


def user_of(session_key: str) -> User | None:
    """Return the user who is signed in with a session; None once it has ended.

    A change of the password ends it, too.
    """
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    # With one of SECRET_KEY_FALLBACKS, Django gives a session a new key, which only a response to
    # the browser itself can tell it.
    session.cycle_key = lambda: None
    request = HttpRequest()
    request.session = session
    user = get_user(request)
    return user if user.is_authenticated else None
