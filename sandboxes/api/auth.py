"""Authentication: a bearer token with a sufficient scope, or the session of a signed-in user.

Requests are rate-limited per user, and invalid tokens per client address. An address that has
reached the limit of invalid tokens can still send requests with a valid token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.http import HttpRequest
from ninja.errors import HttpError
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from sandboxes.accounts import api_tokens
from sandboxes.api import throttling
from sandboxes.api.problems import InsufficientScope, InvalidToken
from sandboxes.models import Scope

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class ApiRequest(HttpRequest):
    """An authenticated request."""

    auth: User


class PortalToken(HttpBearer):
    """An API token with at least the scope that the operation requires."""

    def __init__(self, required: Scope) -> None:
        super().__init__()
        self.required = required

    def authenticate(self, request: HttpRequest, token: str) -> User:
        """Return the user of the token.

        Raises InvalidToken, InsufficientScope, RateLimited.
        """
        row = api_tokens.authenticate(token)
        if row is None:
            throttling.invalid_tokens.count(request.META.get("REMOTE_ADDR", ""))
            # Not None: an invalid token must not fall back to the session of the browser.
            raise InvalidToken
        if Scope.values.index(row.scope) < Scope.values.index(self.required):
            raise InsufficientScope(self.required, row.scope)
        throttling.api_calls.count(str(row.user_id))
        structlog.contextvars.bind_contextvars(token=row.prefix, user_id=row.user_id)
        request.user = row.user  # For the request log.
        return row.user


class PortalSession(APIKeyCookie):
    """The session of a signed-in user; requests that change something need the CSRF token."""

    param_name = settings.SESSION_COOKIE_NAME

    def __call__(self, request: HttpRequest) -> User | None:
        # The base class checks the CSRF token first, and so responds with 403 instead of 401.
        if not request.user.is_authenticated:
            return None
        if check_csrf(request):
            raise HttpError(403, "Send the CSRF token of your session in the X-CSRFToken header.")
        throttling.api_calls.count(str(request.user.pk))
        return self.authenticate(request, None)

    def authenticate(self, request: HttpRequest, key: str | None) -> User | None:  # noqa: ARG002
        """Return the signed-in user."""
        return request.user  # type: ignore[return-value]


READ, LAUNCH, ALL = ([PortalToken(scope), PortalSession()] for scope in Scope)
"""The values for `auth` of an operation, by the scope that it requires of a token."""
