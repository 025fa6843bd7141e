"""The list of somebody's sessions holds those that are there, and no others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from allauth.usersessions.models import UserSession
from django.http import HttpRequest


def delete_user_sessions(keys: Collection[str]) -> None:
    """These sessions are over."""
    if keys:
        UserSession.objects.filter(session_key__in=keys).delete()


def delete_current_session(request: HttpRequest, **_: Any) -> None:
    """Somebody signs out."""
    if key := request.session.session_key:
        delete_user_sessions([key])
