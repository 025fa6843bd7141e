"""Who may reach a sandbox through the gateway, if only its owner may."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.core.cache import cache

from sandboxes import blueprints
from sandboxes.accounts import api_tokens, sessions
from sandboxes.gateway import access, names
from sandboxes.gateway.access import Grant
from sandboxes.gateway.routes import ROUTED_STATES
from sandboxes.models import Sandbox, Scope, State

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CODE_SECONDS = 60


@dataclass(frozen=True)
class Refusal:
    """Why a request isn't forwarded to the sandbox."""

    status: HTTPStatus
    detail: str


SIGN_IN = Refusal(
    HTTPStatus.UNAUTHORIZED,
    f"Only its owner can open this sandbox. Open it from the portal, or send an API token with "
    f"full access in the {access.TOKEN_HEADER} header.",
)
USED_CODE = Refusal(
    HTTPStatus.UNAUTHORIZED, "This link was used before or is too old. Open the sandbox again."
)
INVALID_TOKEN = Refusal(
    HTTPStatus.UNAUTHORIZED, "Invalid, expired, or revoked token. Create a new one."
)
INSUFFICIENT_SCOPE = Refusal(
    HTTPStatus.FORBIDDEN, "The token must have full access to open endpoints of a sandbox."
)
OTHER_OWNER = Refusal(HTTPStatus.FORBIDDEN, "The token belongs to another user than the sandbox.")


def owner_only_endpoint(sandbox: Sandbox, label: str) -> str | None:
    """Return the host name of a running sandbox's endpoint that only its owner may open.

    `label` is the endpoint's part of the host name. None if it no longer exists.
    """
    blueprint = blueprints.find_for_sandbox(sandbox)
    if sandbox.state != State.RUNNING or not blueprint or not names.is_owner_only(blueprint):
        return None
    known = {
        blueprints.host_label(name): name
        for name, endpoint in blueprint.endpoints.items()
        if endpoint.is_http
    }
    return names.label(sandbox.public_id, known[label]) if label in known else None


def issue_code(host_label: str, session_key: str) -> str:
    """Return a code that a browser exchanges once, at this host name, for a cookie."""
    code = secrets.token_urlsafe(32)
    cache.set(_cache_key(code), access.seal(Grant(host_label, session_key)), CODE_SECONDS)
    return code


def redeem_code(code: str, host_label: str) -> str | None:
    """Return the cookie for a code; None if it was used, is too old, or is for another host."""
    key = _cache_key(code)
    cookie: str | None = cache.get(key)
    # Of several requests with the same code, only one deletes it.
    if cookie is None or not cache.delete(key):
        return None
    grant = access.unseal(cookie)
    return cookie if grant and grant.label == host_label else None


def _cache_key(code: str) -> str:
    return f"gateway-code:{hashlib.sha256(code.encode()).hexdigest()}"


def authorize(host_label: str, cookies: Iterable[str], token: str) -> Refusal | None:
    """Return why a request must not reach a sandbox; None if it comes from its owner."""
    public_id = names.public_id(host_label)
    if token:
        return _authorize_token(public_id, token)
    for cookie in cookies:
        grant = access.unseal(cookie)
        if grant and grant.label == host_label:
            user = sessions.user_of(grant.session)
            if user and _owns(user, public_id):
                return None
    return SIGN_IN


def _authorize_token(public_id: str, text: str) -> Refusal | None:
    token = api_tokens.authenticate(text)
    if token is None:
        return INVALID_TOKEN
    if token.scope != Scope.ALL:
        return INSUFFICIENT_SCOPE
    return None if _owns(token.user, public_id) else OTHER_OWNER


def _owns(user: User, public_id: str) -> bool:
    return Sandbox.objects.filter(public_id=public_id, owner=user, state__in=ROUTED_STATES).exists()
