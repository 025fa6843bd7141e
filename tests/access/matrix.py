"""The access matrix: what each role gets from each route.

A rule has one word for each role, in the order of `environment.ROLES`: anonymous, other, owner,
operator. A word is the status of the response; `login` is a redirect to the login page, `redirect`
a redirect to any other page. All methods that a rule doesn't name must be denied: see `DENIALS`.

A new route needs a rule here; the test that fails without it prints one to start from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.access.environment import ROLES

DENIALS = {"login", "401", "403", "404", "405"}
"""Outcomes in which nothing can be read or done."""


@dataclass(frozen=True)
class Rule:
    """The outcomes of a route by method, and then by role."""

    outcomes: dict[str, dict[str, str]]
    data: dict[str, Any] = field(default_factory=dict)
    """Data of POST and PATCH requests that would have an effect."""
    journaled: bool = False
    """GET writes an event to the journal."""
    token_in_url: bool = False
    """The URL contains a token that authorizes the request."""
    cacheable: bool = False
    """Everyone gets the same file, which caches may store."""
    ignores_session: bool = False
    """The form itself authorizes the request, so that no CSRF token is needed."""


def rule(
    *,
    data: dict[str, Any] | None = None,
    journaled: bool = False,
    token_in_url: bool = False,
    cacheable: bool = False,
    ignores_session: bool = False,
    **methods: str,
) -> Rule:
    outcomes = {
        method: dict(zip(ROLES, words.split(), strict=True)) for method, words in methods.items()
    }
    return Rule(outcomes, data or {}, journaled, token_in_url, cacheable, ignores_session)


ANYONE = "200 200 200 200"
SIGNED_IN = "login 200 200 200"
OWNER_ONLY = "login 404 200 404"
OPERATORS_ONLY = "login login login 200"
LOGIN_PAGE = "200 redirect redirect redirect"
OWNER_REDIRECTED = "login 404 redirect 404"
ANYONE_REDIRECTED = "redirect redirect redirect redirect"
SIGNED_IN_REDIRECTED = "login redirect redirect redirect"
OPERATORS_REDIRECTED = "login login login redirect"
MOVED = rule(**dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), ANYONE_REDIRECTED))

PORTAL = {
    "": rule(GET=SIGNED_IN),
    "overview/": rule(GET=SIGNED_IN),
    "launch-options/": rule(GET=SIGNED_IN),
    "history/": rule(GET=SIGNED_IN),
    "history/usage/": rule(GET=SIGNED_IN),
    "sandboxes/": rule(
        GET=SIGNED_IN_REDIRECTED,
        POST=SIGNED_IN_REDIRECTED,
        data={"key": "1"},
    ),
    "sandboxes/<public_id>/": rule(GET=OWNER_ONLY),
    "sandboxes/<public_id>/card/": rule(GET=OWNER_ONLY),
    "sandboxes/<public_id>/journal/": rule(GET=OWNER_ONLY),
    "sandboxes/<public_id>/logs/": rule(GET=OWNER_ONLY),
    "sandboxes/<public_id>/logs/download/": rule(GET=OWNER_REDIRECTED),
    "sandboxes/<public_id>/usage/": rule(GET=OWNER_REDIRECTED),
    "sandboxes/<public_id>/openapi.json": rule(GET=OWNER_REDIRECTED),
    "sandboxes/<public_id>/api/": rule(GET=OWNER_ONLY),
    "sandboxes/<public_id>/api/reference/": rule(GET=OWNER_ONLY),
    "sandboxes/<public_id>/api/send/": rule(GET=OWNER_REDIRECTED, POST=OWNER_ONLY),
    "sandboxes/<public_id>/requests/": rule(GET=OWNER_ONLY),
    "sandboxes/<public_id>/requests/<log_id>/repeat/": rule(GET=OWNER_REDIRECTED, POST=OWNER_ONLY),
    "sandboxes/<public_id>/inbox/": rule(GET=OWNER_ONLY),
    "sandboxes/<public_id>/inbox/events/": rule(GET=OWNER_ONLY),
    "sandboxes/<public_id>/inbox/create/": rule(
        POST=OWNER_REDIRECTED, data={"type": "invoice.paid", "object_id": "inv_001"}
    ),
    "sandboxes/<public_id>/inbox/clock/": rule(POST=OWNER_REDIRECTED, data={"freeze": "yes"}),
    "sandboxes/<public_id>/inbox/<event_id>/replay/": rule(POST=OWNER_REDIRECTED),
    "sandboxes/<public_id>/inbox/endpoints/<endpoint_id>/": rule(
        POST=OWNER_REDIRECTED, data={"duplicates": "20"}
    ),
    "sandboxes/<public_id>/relaunch/": rule(POST=OWNER_REDIRECTED),
    "sandboxes/<public_id>/credentials/env/": rule(POST=OWNER_ONLY),
    "sandboxes/<public_id>/credentials/postman/": rule(POST=OWNER_REDIRECTED),
    "sandboxes/<public_id>/credentials/": rule(GET=OWNER_REDIRECTED, POST=OWNER_ONLY),
    # The blueprint is open to everyone.
    "sandboxes/<public_id>/open/<label>/": rule(GET=OWNER_REDIRECTED, POST=OWNER_REDIRECTED),
    "sandboxes/<public_id>/extend/": rule(POST=OWNER_REDIRECTED, data={"minutes": 15}),
    "sandboxes/<public_id>/touch/": rule(POST=OWNER_REDIRECTED),
    "sandboxes/<public_id>/retry-funding/": rule(POST=OWNER_REDIRECTED),
    "sandboxes/<public_id>/rename/": rule(POST=OWNER_REDIRECTED, data={"name": "checkout"}),
    "sandboxes/<public_id>/replace/": rule(POST=OWNER_REDIRECTED),
    "sandboxes/<public_id>/save-points/": rule(POST=OWNER_REDIRECTED),
    "save-points/": rule(GET=SIGNED_IN),
    "save-points/<save_point_id>/restore/": rule(POST=OWNER_REDIRECTED),
    "save-points/<save_point_id>/launch/": rule(POST=SIGNED_IN_REDIRECTED),
    "save-points/<save_point_id>/rename/": rule(POST=OWNER_REDIRECTED),
    "save-points/<save_point_id>/delete/": rule(POST=OWNER_REDIRECTED),
    "sandboxes/<public_id>/reset/": rule(GET=OWNER_ONLY, POST=OWNER_REDIRECTED),
    "sandboxes/<public_id>/destroy/": rule(GET=OWNER_ONLY, POST=OWNER_REDIRECTED),
    "dismiss-ended/": rule(POST=SIGNED_IN_REDIRECTED),
    "warnings/": rule(GET="login 204 200 204"),
    "preferences/": rule(GET=SIGNED_IN, POST=SIGNED_IN),
    "preferences/notify-me/": rule(POST="login 204 204 204"),
    "cli/": rule(GET=ANYONE),
    "cli/<name>": rule(GET=ANYONE, cacheable=True),
    "device/": rule(GET=SIGNED_IN, POST=SIGNED_IN),
    "docs/": rule(GET=ANYONE, POST="login 200 200 200"),
    "docs/search/": rule(GET=ANYONE),
    "docs/operators/<operators_page>/": rule(GET="login 403 403 200"),
    "docs/<page>/": rule(GET=ANYONE),
    "tokens/": rule(GET=SIGNED_IN, POST=SIGNED_IN, data={"name": "ci", "scope": "all"}),
    "tokens/<pk>/revoke/": rule(GET=OWNER_ONLY, POST=OWNER_REDIRECTED),
}

WEBHOOKS = {
    "webhooks/": rule(GET=SIGNED_IN, POST=SIGNED_IN),
    "webhooks/<webhook_id>/": rule(GET=OWNER_ONLY, POST=OWNER_ONLY),
    "webhooks/<webhook_id>/<message_id>/": rule(POST=OWNER_REDIRECTED),
    "webhooks/<webhook_id>/delete/": rule(GET=OWNER_ONLY, POST=OWNER_REDIRECTED),
    "webhooks/<webhook_id>/log/": rule(GET=OWNER_ONLY),
    "webhooks/<webhook_id>/rotate/": rule(GET=OWNER_ONLY, POST=OWNER_ONLY),
    "webhooks/<webhook_id>/toggle/": rule(POST=OWNER_REDIRECTED),
    "webhooks/<webhook_id>/test/": rule(POST=OWNER_REDIRECTED),
}

EMAIL_LINKS = {
    "keep/<token>/": rule(GET=ANYONE, POST=ANYONE, token_in_url=True),
    "unsubscribe/<token>/": rule(GET=ANYONE, POST=ANYONE, token_in_url=True),
    "invitations/<signed>/": rule(GET=ANYONE_REDIRECTED, token_in_url=True),
}

MONITORING = {
    "favicon.ico": rule(GET=ANYONE_REDIRECTED),
    "logo": rule(GET=ANYONE_REDIRECTED),
    "robots.txt": rule(GET=ANYONE),
    "gateway/routes": rule(),
    "gateway/authorize/<host_label>": rule(),
    # The body has the tokens of those who get something.
    "streams/read": rule(POST="422 422 422 422", ignores_session=True),
    "healthz": rule(GET=ANYONE),
    "readyz": rule(GET="503 503 503 503"),  # The reaper hasn't run.
    "metrics": rule(GET="401 401 401 200"),
}

ACCOUNTS = {
    "accounts/login/": rule(GET=LOGIN_PAGE, POST=LOGIN_PAGE),
    "accounts/login/code/confirm/": rule(GET=SIGNED_IN_REDIRECTED, POST=SIGNED_IN_REDIRECTED),
    "accounts/logout/": rule(GET=SIGNED_IN, POST="login login login login"),
    "accounts/signup/": rule(GET=LOGIN_PAGE, POST=LOGIN_PAGE),
    "accounts/inactive/": rule(GET=ANYONE),
    "accounts/sessions/": rule(
        GET=SIGNED_IN,
        POST=SIGNED_IN_REDIRECTED,
        PUT=SIGNED_IN_REDIRECTED,
    ),
    "sessions/<session>/end/": rule(POST=OWNER_REDIRECTED),
    "accounts/reauthenticate/": rule(GET=SIGNED_IN, POST=SIGNED_IN),
    "accounts/email/": rule(
        GET=SIGNED_IN,
        POST=SIGNED_IN_REDIRECTED,
        PUT=SIGNED_IN_REDIRECTED,
        data={"action_add": "", "email": "another@example.com"},
    ),
    "accounts/confirm-email/": rule(GET=ANYONE),
    "accounts/confirm-email/<key>/": rule(
        GET=ANYONE, POST="login login login login", token_in_url=True
    ),
    "accounts/password/change/": rule(GET=SIGNED_IN, POST=SIGNED_IN),
    "accounts/password/set/": rule(GET=SIGNED_IN_REDIRECTED, POST=SIGNED_IN_REDIRECTED),
    "accounts/password/reset/": rule(GET=ANYONE, POST=ANYONE),
    "accounts/password/reset/done/": rule(GET=ANYONE),
    "accounts/password/reset/key/<uidb36>-<key>/": rule(GET=ANYONE, POST=ANYONE, DELETE=ANYONE),
    "accounts/password/reset/key/done/": rule(GET=ANYONE),
}

PROVIDERS = {
    "accounts/3rdparty/": rule(GET=SIGNED_IN, POST=SIGNED_IN),
    "accounts/3rdparty/login/cancelled/": rule(GET=ANYONE),
    "accounts/3rdparty/login/error/": rule(),
    "accounts/3rdparty/signup/": rule(),
    # No provider is configured.
    "accounts/github/login/": rule(),
    "accounts/github/login/callback/": rule(),
    "accounts/oidc/<provider_id>/login/": rule(),
    "accounts/oidc/<provider_id>/login/callback/": rule(),
    # Deprecated URLs of allauth.
    "accounts/social/connections/": MOVED,
    "accounts/social/login/cancelled/": MOVED,
    "accounts/social/login/error/": MOVED,
    "accounts/social/signup/": MOVED,
}

MFA = {
    "accounts/2fa/": rule(GET=SIGNED_IN),
    "accounts/2fa/authenticate/": rule(GET=SIGNED_IN_REDIRECTED, POST=SIGNED_IN_REDIRECTED),
    "accounts/2fa/reauthenticate/": rule(GET=SIGNED_IN_REDIRECTED, POST=SIGNED_IN_REDIRECTED),
    "accounts/2fa/totp/activate/": rule(GET=SIGNED_IN, POST=SIGNED_IN),
    "accounts/2fa/totp/deactivate/": rule(GET="login 404 404 404", POST="login 404 404 404"),
    "accounts/2fa/recovery-codes/": rule(GET="login 404 404 404"),
    "accounts/2fa/recovery-codes/download/": rule(GET="login 404 404 404"),
    "accounts/2fa/recovery-codes/generate/": rule(GET=SIGNED_IN, POST=SIGNED_IN),
}

API = {
    "api": rule(),
    "api/v1": rule(GET=ANYONE),
    "api/v1/": rule(GET=ANYONE),
    "api/v1/docs": rule(GET=ANYONE),
    "api/v1/openapi.json": rule(GET=ANYONE),
    "api/v1/device_authorization": rule(POST="400 400 400 400", ignores_session=True),
    "api/v1/token": rule(POST="400 400 400 400", ignores_session=True),
    "api/v1/blueprints": rule(GET="401 200 200 200"),
    "api/v1/limits": rule(GET="401 200 200 200"),
    "api/v1/webhooks": rule(GET="401 200 200 200", POST="401 422 422 422"),
    "api/v1/webhooks/<webhook_id>": rule(
        GET="401 404 200 404",
        PATCH="401 404 200 404",
        DELETE="401 404 200 404",
        data={"events": ["sandbox.ended"]},
    ),
    "api/v1/webhooks/<webhook_id>/deliveries": rule(GET="401 404 200 404"),
    "api/v1/webhooks/<webhook_id>/deliveries/<delivery_id>/redeliver": rule(POST="401 404 202 404"),
    "api/v1/webhooks/<webhook_id>/secret": rule(POST="401 404 200 404"),
    "api/v1/webhooks/<webhook_id>/test": rule(POST="401 404 202 404"),
    "api/v1/sandboxes": rule(GET="401 200 200 200", POST="401 201 201 201"),
    "api/v1/sandboxes/<sandbox_id>": rule(
        GET="401 404 200 404",
        PATCH="401 404 200 404",
        DELETE="401 404 202 404",
        data={"name": "checkout"},
    ),
    "api/v1/sandboxes/<sandbox_id>/connections": rule(GET="401 404 200 404", journaled=True),
    "api/v1/sandboxes/<sandbox_id>/credentials": rule(GET="401 404 200 404", journaled=True),
    "api/v1/sandboxes/<sandbox_id>/events": rule(GET="401 404 200 404"),
    "api/v1/sandboxes/<sandbox_id>/extensions": rule(POST="401 404 201 404", data={"minutes": 15}),
    "api/v1/sandboxes/<sandbox_id>/operations": rule(GET="401 404 503 404"),
    "api/v1/sandboxes/<sandbox_id>/requests": rule(
        GET="401 404 503 404",
        POST="401 404 503 404",
        data={"method": "GET", "path": "/v1/plans"},
    ),
    "api/v1/sandboxes/<sandbox_id>/requests/<log_id>": rule(GET="401 404 503 404"),
    "api/v1/sandboxes/<sandbox_id>/requests/<log_id>/repeat": rule(POST="401 404 503 404"),
    "api/v1/sandboxes/<sandbox_id>/agent-calls": rule(
        POST="401 404 200 404", data={"agent": "tests", "tool": "call_api"}
    ),
    "api/v1/sandboxes/<sandbox_id>/heartbeat": rule(POST="401 404 409 404"),
    "api/v1/sandboxes/<sandbox_id>/inbox": rule(
        GET="401 404 200 404",
        POST="401 404 503 404",
        data={"type": "invoice.paid", "object_id": "inv_001"},
    ),
    "api/v1/sandboxes/<sandbox_id>/inbox/<event_id>/replay": rule(POST="401 404 202 404"),
    "api/v1/sandboxes/<sandbox_id>/event-endpoints": rule(GET="401 404 200 404"),
    "api/v1/sandboxes/<sandbox_id>/event-endpoints/<endpoint_id>": rule(
        PATCH="401 404 200 404", data={"duplicates": 20}
    ),
    "api/v1/sandboxes/<sandbox_id>/clock": rule(
        GET="401 404 503 404", POST="401 404 503 404", data={"advance_by": "P1D"}
    ),
    "api/v1/sandboxes/<sandbox_id>/save-points": rule(
        GET="401 404 200 404", POST="401 404 201 404", data={"name": "before"}
    ),
    "api/v1/save-points": rule(GET="401 200 200 200"),
    "api/v1/save-points/<save_point_id>": rule(
        GET="401 404 200 404",
        PATCH="401 404 200 404",
        DELETE="401 404 200 404",
        data={"name": "after"},
    ),
    "api/v1/save-points/<save_point_id>/restore": rule(POST="401 404 202 404"),
    "api/v1/sandboxes/<sandbox_id>/logs": rule(GET="401 404 422 404"),
    "api/v1/sandboxes/<sandbox_id>/replace": rule(POST="401 404 409 404"),
    "api/v1/sandboxes/<sandbox_id>/reset": rule(POST="401 404 202 404"),
    "api/v1/sandboxes/<sandbox_id>/touch": rule(POST="401 404 200 404"),
    "api/v1/sandboxes/<sandbox_id>/usage": rule(GET="401 404 200 404"),
}

ADMIN = {
    "admin/": rule(GET=OPERATORS_ONLY, POST=OPERATORS_ONLY),
    "admin/<app_label>/": rule(GET=OPERATORS_ONLY, POST=OPERATORS_ONLY),
    "admin/<url>": rule(),
    "admin/login/": rule(
        GET="login 403 403 redirect", POST="login 403 403 200", PUT="login 403 403 200"
    ),
    "admin/logout/": rule(
        GET="redirect redirect redirect 405", POST="redirect redirect redirect 200"
    ),
    "admin/jsi18n/": rule(GET=OPERATORS_ONLY),
    "admin/autocomplete/": rule(),
    "admin/r/<content_type_id>/<object_id>/": rule(),
    "admin/auth/user/<id>/password/": rule(),
    # Redirect to the portal's own page for changing the password.
    "admin/password_change/": rule(GET=ANYONE_REDIRECTED, POST=ANYONE_REDIRECTED),
    "admin/password_change/done/": rule(GET=OPERATORS_ONLY),
    "admin/sandboxes/maintenance/": rule(GET=OPERATORS_REDIRECTED, POST=OPERATORS_ONLY),
    "admin/sandboxes/runtimesettings/": rule(GET=OPERATORS_REDIRECTED, POST=OPERATORS_REDIRECTED),
    "admin/sandboxes/sandbox/<object_id>/monitor/": rule(GET=OPERATORS_ONLY),
    "admin/sandboxes/sandbox/usage/": rule(GET=OPERATORS_ONLY),
    "admin/sandboxes/auditentry/export/": rule(GET=OPERATORS_ONLY, POST=OPERATORS_ONLY),
}

MODELS = r"admin/\w+/\w+/"
ADDED_BY_OPERATORS = (
    r"admin/(auth/group|auth/user|sandboxes/(engine|identityrule|invitation|limitoverride))/"
)
CHANGED_BY_OPERATORS = (
    r"admin/(auth/group|auth/user|sandboxes/(engine|identityrule|limitoverride|maintenance|pool"
    r"|runtimesettings))/"
)

ADMIN_PATTERNS = {
    f"{MODELS}": rule(GET=OPERATORS_ONLY, POST=OPERATORS_ONLY),
    f"{MODELS}<object_id>/": rule(GET=OPERATORS_REDIRECTED, POST=OPERATORS_REDIRECTED),
    f"{MODELS}<object_id>/history/": rule(GET=OPERATORS_REDIRECTED, POST=OPERATORS_REDIRECTED),
    f"{MODELS}<object_id>/delete/": rule(),
    f"{ADDED_BY_OPERATORS}add/": rule(GET=OPERATORS_ONLY, POST=OPERATORS_ONLY),
    f"{MODELS}add/": rule(),
    f"{CHANGED_BY_OPERATORS}<object_id>/change/": rule(GET=OPERATORS_ONLY, POST=OPERATORS_ONLY),
    f"{MODELS}<object_id>/change/": rule(GET=OPERATORS_ONLY),
}
"""Rules of the pages that the admin has for every model; the first pattern that matches applies."""

MATRIX = PORTAL | WEBHOOKS | EMAIL_LINKS | MONITORING | ACCOUNTS | PROVIDERS | MFA | API | ADMIN


def rule_for(route: str) -> Rule | None:
    """Return the rule of the route with this pattern; None if the matrix has none."""
    if route in MATRIX:
        return MATRIX[route]
    matches = (rule for pattern, rule in ADMIN_PATTERNS.items() if re.fullmatch(pattern, route))
    return next(matches, None)
