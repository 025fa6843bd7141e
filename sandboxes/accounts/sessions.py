"""Keep allauth's list of user sessions in step with Django's sessions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from allauth.usersessions.models import UserSession
from django.http import HttpRequest


def delete_user_sessions(keys: Collection[str]) -> None:
    """Delete these sessions from the lists of their users."""
    if keys:
        UserSession.objects.filter(session_key__in=keys).delete()


def delete_current_session(request: HttpRequest, **_: Any) -> None:
    """Delete the current session from the list when the user signs out."""
    if key := request.session.session_key:
        delete_user_sessions([key])
