"""Who is asking: a bearer token with a large enough scope, or someone signed in to the portal.

Calls are counted for each person, and wrong tokens for each address they come from, so that neither
a loop nor a guesser takes the portal from the others. Who has a good token is let in all the same.
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
    """A request that was let in."""

    auth: User


class PortalToken(HttpBearer):
    """A token of the portal whose scope is at least the one that the operation needs."""

    def __init__(self, needed: Scope) -> None:
        super().__init__()
        self.needed = needed

    def authenticate(self, request: HttpRequest, token: str) -> User:
        found = api_tokens.authenticate(token)
        if found is None:
            throttling.invalid_tokens.count(request.META.get("REMOTE_ADDR", ""))
            # Not None: a wrong token must not fall back on a session that a browser sends along.
            raise InvalidToken("This token is wrong, expired or revoked; make a new one.")
        if Scope.values.index(found.scope) < Scope.values.index(self.needed):
            raise InsufficientScope(self.needed, found.scope)
        throttling.api_calls.count(str(found.user_id))
        structlog.contextvars.bind_contextvars(token=found.prefix)
        request.user = found.user  # Whom the log names.
        return found.user


class PortalSession(APIKeyCookie):
    """The session of someone signed in; anything but reading also needs the CSRF token."""

    param_name = settings.SESSION_COOKIE_NAME

    def __call__(self, request: HttpRequest) -> User | None:
        # The base class asks for a CSRF token first, and so answers 403 to who isn't signed in.
        if not request.user.is_authenticated:
            return None
        if check_csrf(request):
            raise HttpError(403, "Send the CSRF token of your session in X-CSRFToken.")
        throttling.api_calls.count(str(request.user.pk))
        return self.authenticate(request, None)

    def authenticate(self, request: HttpRequest, key: str | None) -> User | None:  # noqa: ARG002
        return request.user  # type: ignore[return-value]


READ, LAUNCH, ALL = ([PortalToken(scope), PortalSession()] for scope in Scope)
"""What `auth` of an operation may be: the smallest scope of a token that it takes."""
