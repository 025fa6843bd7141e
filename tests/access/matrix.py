"""The access matrix: what each person gets from each address.

One line for an address, one word for a person, in the order of `world.PEOPLE`: nobody, other,
owner, operator. A word is the status of the answer; `in` is a redirect to signing in, `on` one to
another page. What a line does not name, the address must refuse: see `REFUSALS`.

A new address needs a line here; the test that misses it says which.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.access.environment import PEOPLE

REFUSALS = {"in", "401", "403", "404", "405"}
"""Answers that let nobody do anything; whatever else is answered, the matrix says so."""


@dataclass(frozen=True)
class Line:
    """The answers by method, each to the four people."""

    answers: dict[str, dict[str, str]]
    data: dict[str, Any] = field(default_factory=dict)
    """What POST and PATCH send, so that it would do something."""
    noted: bool = False
    """Reading it is written to the journal."""
    keyed: bool = False
    """Its address holds a key, which is as good as being signed in."""


def line(
    *, data: dict[str, Any] | None = None, noted: bool = False, keyed: bool = False, **methods: str
) -> Line:
    answers = {
        method: dict(zip(PEOPLE, words.split(), strict=True)) for method, words in methods.items()
    }
    return Line(answers, data or {}, noted, keyed)


ANYONE = "200 200 200 200"
SIGNED_IN = "in 200 200 200"
OWN = "in 404 200 404"
OPERATORS = "in in in 200"
NO_WAY = "in in in 403"
ENTRANCE = "200 on on on"
ON_FOR_OWNER = "in 404 on 404"
MOVED = line(**dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), "on on on on"))

PORTAL = {
    "": line(GET=SIGNED_IN),
    "overview/": line(GET=SIGNED_IN),
    "history/": line(GET=SIGNED_IN),
    "sandboxes/": line(GET="in on on on", POST="in on on on", data={"key": "1"}),
    "sandboxes/<public_id>/": line(GET=OWN),
    "sandboxes/<public_id>/card/": line(GET=OWN),
    "sandboxes/<public_id>/journal/": line(GET=OWN),
    "sandboxes/<public_id>/logs/": line(GET=OWN),
    "sandboxes/<public_id>/logs/download/": line(GET=ON_FOR_OWNER),
    "sandboxes/<public_id>/usage/": line(GET=ON_FOR_OWNER),
    "sandboxes/<public_id>/openapi.json": line(GET=ON_FOR_OWNER),
    "sandboxes/<public_id>/api/": line(GET=OWN),
    "sandboxes/<public_id>/api/send/": line(POST=OWN),
    "sandboxes/<public_id>/again/": line(POST=ON_FOR_OWNER),
    "sandboxes/<public_id>/credentials/env/": line(POST=OWN),
    "sandboxes/<public_id>/credentials/postman/": line(POST=ON_FOR_OWNER),
    "sandboxes/<public_id>/credentials/": line(GET=ON_FOR_OWNER, POST=OWN),
    "sandboxes/<public_id>/extend/": line(POST=ON_FOR_OWNER, data={"minutes": 15}),
    "sandboxes/<public_id>/touch/": line(POST=ON_FOR_OWNER),
    "sandboxes/<public_id>/fund/": line(POST=ON_FOR_OWNER),
    "sandboxes/<public_id>/reset/": line(GET=OWN, POST=ON_FOR_OWNER),
    "sandboxes/<public_id>/destroy/": line(GET=OWN, POST=ON_FOR_OWNER),
    "clear/": line(POST="in on on on"),
    "warnings/": line(GET="in 204 200 204"),
    "preferences/": line(GET=SIGNED_IN, POST=SIGNED_IN),
    "preferences/notify-me/": line(POST="in 204 204 204"),
    "tokens/": line(GET=SIGNED_IN, POST=SIGNED_IN, data={"name": "ci", "scope": "all"}),
    "tokens/<pk>/revoke/": line(GET=OWN, POST=ON_FOR_OWNER),
}

WEBHOOKS = {
    "webhooks/": line(GET=SIGNED_IN, POST=SIGNED_IN),
    "webhooks/<webhook_id>/": line(GET=OWN, POST=OWN),
    "webhooks/<webhook_id>/<message_id>/": line(POST=ON_FOR_OWNER),
    "webhooks/<webhook_id>/delete/": line(GET=OWN, POST=ON_FOR_OWNER),
    "webhooks/<webhook_id>/log/": line(GET=OWN),
    "webhooks/<webhook_id>/rotate/": line(GET=OWN, POST=OWN),
    "webhooks/<webhook_id>/switch/": line(POST=ON_FOR_OWNER),
    "webhooks/<webhook_id>/test/": line(POST=ON_FOR_OWNER),
}

LINKS_IN_MAILS = {
    "keep/<token>/": line(GET=ANYONE, POST=ANYONE, keyed=True),
    "unsubscribe/<token>/": line(GET=ANYONE, POST=ANYONE, keyed=True),
    "invitations/<signed>/": line(GET="on on on on", keyed=True),
}

PROBES = {
    "favicon.ico": line(GET="on on on on"),
    "robots.txt": line(GET=ANYONE),
    "healthz": line(GET=ANYONE),
    "readyz": line(GET="503 503 503 503"),  # No sweep has looked at this world.
    "metrics": line(GET="401 401 401 200"),
}

ACCOUNTS = {
    "accounts/login/": line(GET=ENTRANCE, POST=ENTRANCE),
    "accounts/login/code/confirm/": line(GET="in on on on", POST="in on on on"),
    "accounts/logout/": line(GET=SIGNED_IN, POST="in in in in"),
    "accounts/signup/": line(GET=ENTRANCE, POST=ENTRANCE),
    "accounts/inactive/": line(GET=ANYONE),
    "accounts/sessions/": line(GET=SIGNED_IN, POST="in on on on", PUT="in on on on"),
    "sessions/<session>/end/": line(POST=ON_FOR_OWNER),
    "accounts/reauthenticate/": line(GET=SIGNED_IN, POST=SIGNED_IN),
    "accounts/email/": line(
        GET=SIGNED_IN,
        POST="in on on on",
        PUT="in on on on",
        data={"action_add": "", "email": "another@example.com"},
    ),
    "accounts/confirm-email/": line(GET=ANYONE),
    "accounts/confirm-email/<key>/": line(GET=ANYONE, POST="in in in in", keyed=True),
    "accounts/password/change/": line(GET=SIGNED_IN, POST=SIGNED_IN),
    "accounts/password/set/": line(GET="in on on on", POST="in on on on"),
    "accounts/password/reset/": line(GET=ANYONE, POST=ANYONE),
    "accounts/password/reset/done/": line(GET=ANYONE),
    "accounts/password/reset/key/<uidb36>-<key>/": line(GET=ANYONE, POST=ANYONE, DELETE=ANYONE),
    "accounts/password/reset/key/done/": line(GET=ANYONE),
}

PROVIDERS = {
    "accounts/3rdparty/": line(GET=SIGNED_IN, POST=SIGNED_IN),
    "accounts/3rdparty/login/cancelled/": line(GET=ANYONE),
    "accounts/3rdparty/login/error/": line(),
    "accounts/3rdparty/signup/": line(),
    # Where none is set up.
    "accounts/github/login/": line(),
    "accounts/github/login/callback/": line(),
    "accounts/oidc/<provider_id>/login/": line(),
    "accounts/oidc/<provider_id>/login/callback/": line(),
    # Names of earlier days.
    "accounts/social/connections/": MOVED,
    "accounts/social/login/cancelled/": MOVED,
    "accounts/social/login/error/": MOVED,
    "accounts/social/signup/": MOVED,
}

SECOND_FACTOR = {
    "accounts/2fa/": line(GET=SIGNED_IN),
    "accounts/2fa/authenticate/": line(GET="in on on on", POST="in on on on"),
    "accounts/2fa/reauthenticate/": line(GET="in on on on", POST="in on on on"),
    "accounts/2fa/totp/activate/": line(GET=SIGNED_IN, POST=SIGNED_IN),
    "accounts/2fa/totp/deactivate/": line(GET="in 404 404 404", POST="in 404 404 404"),
    "accounts/2fa/recovery-codes/": line(GET="in 404 404 404"),
    "accounts/2fa/recovery-codes/download/": line(GET="in 404 404 404"),
    "accounts/2fa/recovery-codes/generate/": line(GET=SIGNED_IN, POST=SIGNED_IN),
}

API = {
    "api/v1/": line(),
    "api/v1/docs": line(GET=ANYONE, POST=ANYONE),
    "api/v1/openapi.json": line(GET=ANYONE, POST=ANYONE),
    "api/v1/blueprints": line(GET="401 200 200 200"),
    "api/v1/limits": line(GET="401 200 200 200"),
    "api/v1/webhooks": line(GET="401 200 200 200", POST="401 422 422 422"),
    "api/v1/webhooks/<webhook_id>": line(
        GET="401 404 200 404",
        PATCH="401 404 200 404",
        DELETE="401 404 200 404",
        data={"events": ["sandbox.ended"]},
    ),
    "api/v1/webhooks/<webhook_id>/deliveries": line(GET="401 404 200 404"),
    "api/v1/webhooks/<webhook_id>/deliveries/<delivery_id>/redeliver": line(POST="401 404 202 404"),
    "api/v1/webhooks/<webhook_id>/secret": line(POST="401 404 200 404"),
    "api/v1/webhooks/<webhook_id>/test": line(POST="401 404 202 404"),
    "api/v1/sandboxes": line(GET="401 200 200 200", POST="401 201 201 201"),
    "api/v1/sandboxes/<sandbox_id>": line(GET="401 404 200 404", DELETE="401 404 202 404"),
    "api/v1/sandboxes/<sandbox_id>/credentials": line(GET="401 404 200 404", noted=True),
    "api/v1/sandboxes/<sandbox_id>/events": line(GET="401 404 200 404"),
    "api/v1/sandboxes/<sandbox_id>/extensions": line(POST="401 404 201 404", data={"minutes": 15}),
    "api/v1/sandboxes/<sandbox_id>/logs": line(GET="401 404 422 404"),
    "api/v1/sandboxes/<sandbox_id>/reset": line(POST="401 404 202 404"),
    "api/v1/sandboxes/<sandbox_id>/touch": line(POST="401 404 200 404"),
    "api/v1/sandboxes/<sandbox_id>/usage": line(GET="401 404 200 404"),
}

CONSOLE = {
    "admin/": line(GET=OPERATORS, POST=OPERATORS),
    "admin/<app_label>/": line(GET=OPERATORS, POST=OPERATORS),
    "admin/<url>": line(),
    "admin/login/": line(GET="in 403 403 on", POST="in 403 403 200", PUT="in 403 403 200"),
    "admin/logout/": line(GET="on on on 405", POST="on on on 200"),
    "admin/jsi18n/": line(GET=OPERATORS),
    "admin/autocomplete/": line(),
    "admin/r/<content_type_id>/<object_id>/": line(),
    "admin/auth/user/<id>/password/": line(),
    # Passwords are changed in one place, the portal's.
    "admin/password_change/": line(GET="on on on on", POST="on on on on"),
    "admin/password_change/done/": line(GET=OPERATORS),
    "admin/sandboxes/site/": line(GET="in in in on", POST=OPERATORS),
    "admin/sandboxes/sitesettings/": line(GET="in in in on", POST="in in in on"),
    "admin/sandboxes/auditentry/export/": line(GET=OPERATORS, POST=OPERATORS),
}

MODELS = r"admin/\w+/\w+/"
MADE_BY_OPERATORS = r"admin/(auth/group|auth/user|sandboxes/(invitation|limitoverride))/"
CHANGED_BY_OPERATORS = (
    r"admin/(auth/group|auth/user|sandboxes/(limitoverride|pool|site|sitesettings))/"
)

CONSOLE_FAMILIES = {
    f"{MODELS}": line(GET=OPERATORS, POST=OPERATORS),
    f"{MODELS}<object_id>/": line(GET="in in in on", POST="in in in on"),
    f"{MODELS}<object_id>/history/": line(GET="in in in on", POST="in in in on"),
    f"{MODELS}<object_id>/delete/": line(),
    f"{MADE_BY_OPERATORS}add/": line(GET=OPERATORS, POST=OPERATORS),
    f"{MODELS}add/": line(),
    f"{CHANGED_BY_OPERATORS}<object_id>/change/": line(GET=OPERATORS, POST=OPERATORS),
    f"{MODELS}<object_id>/change/": line(GET=OPERATORS),
}
"""Pages that every model has in the admin; the first pattern that fits holds."""

MATRIX = (
    PORTAL
    | WEBHOOKS
    | LINKS_IN_MAILS
    | PROBES
    | ACCOUNTS
    | PROVIDERS
    | SECOND_FACTOR
    | API
    | CONSOLE
)


def line_of(route: str) -> Line | None:
    """What holds for the address; None when nobody has thought about it yet."""
    if route in MATRIX:
        return MATRIX[route]
    fits = (one for pattern, one in CONSOLE_FAMILIES.items() if re.fullmatch(pattern, route))
    return next(fits, None)
