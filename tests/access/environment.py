"""The users, sandboxes and links that the access matrix is tested with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.account.utils import user_pk_to_url_str
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from model_bakery import baker

from sandboxes.accounts import api_tokens, invitations
from sandboxes.lib import clock
from sandboxes.models import (
    DeadlineKind,
    DeliveryStatus,
    EventEndpoint,
    Invitation,
    LimitOverride,
    Sandbox,
    SandboxEvent,
    SandboxWarning,
    SavePoint,
    Webhook,
    WebhookDelivery,
)
from sandboxes.notifications import signed_links
from sandboxes.preparation import client
from tests import fuzz
from tests.access.routes import Route
from tests.conftest import PASSWORD
from tests.helpers.scenarios import create_singletons, launch

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpResponse

ROLES = ("anonymous", "other", "owner", "operator")
"""Not signed in; bob, who owns nothing; alice, who owns everything; olga, who is a superuser."""

ADMIN_ROW = re.compile(r"admin/(\w+)/(\w+)/<")
UNCOUNTED_WRITES = (
    '"django_session"|"usersessions_usersession"|"sandboxes_apitoken" SET "last_used_at"'
    '|"sandboxes_sandbox" SET "portal_received_bytes"'
)
"""Sessions, the last use of tokens and the portal's own traffic, which every request may write."""
WRITE = re.compile(
    rf'^(?:INSERT INTO|UPDATE|DELETE FROM|REPLACE INTO) (?!{UNCOUNTED_WRITES})"(\w+)"'
)
API_PREFIX = "/api/v1/"

REQUIRED_VALUES: dict[str, dict[str, Any]] = {
    "auditentry": {"reason": "Because."},
    "webhookdelivery": {"status": DeliveryStatus.DELIVERED},
    "authenticator": {"type": "totp", "data": {}},
}
"""Values of models whose rows can't be created with random values alone."""


@dataclass
class AccessResult:
    """A response, its outcome as a word of the matrix, and the tables that were written to."""

    outcome: str
    wrote: set[str]
    response: HttpResponse


@dataclass
class AccessEnvironment:
    """The owner's objects, and a session and an API token of each user."""

    owner: User
    arguments: dict[str, object]
    """A value for each argument of a route."""
    links: dict[str, str]
    """The URLs of links in emails, by route."""
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def path(self, route: Route) -> str:
        """Return the path of the route for an object of alice's.

        Raises KeyError if an argument is unknown.
        """
        if route.pattern in self.links:
            return urlsplit(self.links[route.pattern]).path
        values = dict(self.arguments)
        if row := ADMIN_ROW.match(route.pattern):
            values["object_id"] = values["id"] = _row_id(*row.groups())
        return route.path(values)

    def request(
        self, role: str, method: str, path: str, data: Any = None, *, csrf: bool = True
    ) -> AccessResult:
        """Send a request in this role, record which tables it writes to, and roll it back.

        Requests to the API have a token, others a session. Without `csrf`, the request comes from
        the browser of a signed-in user but from another site.
        """
        fuzz.counts["access requests"] += 1
        cache.clear()
        browser = self._browser(role, path, csrf)
        with rolled_back(), CaptureQueriesContext(connection) as queries:
            if method == "POST" and not path.startswith(API_PREFIX):
                response = browser.post(path, data or {})
            else:
                body = "" if data is None else json.dumps(data)
                response = browser.generic(method, path, body, "application/json")
        writes = (WRITE.match(query["sql"]) for query in queries)
        return AccessResult(outcome_of(response), {match[1] for match in writes if match}, response)

    def _browser(self, role: str, path: str, csrf: bool) -> Client:
        by_token = role in self.tokens and path.startswith(API_PREFIX) and csrf
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if by_token else {}
        browser = Client(not csrf, raise_request_exception=False, headers=headers)
        if role in self.cookies and not by_token:
            browser.cookies.load(self.cookies[role])
        return browser


@contextmanager
def rolled_back() -> Iterator[None]:
    """Roll back everything that the block writes."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def outcome_of(response: HttpResponse) -> str:
    if 300 <= response.status_code < 400:
        login_pages = (reverse("account_login"), reverse("admin:login"))
        return "login" if response["Location"].startswith(login_pages) else "redirect"
    return str(response.status_code)


def _row_id(app: str, model: str) -> object:
    """Return the primary key of an existing row of the model, or of a new one."""
    kind = apps.get_model(app, model)
    row = kind._default_manager.first() or baker.make(kind, **REQUIRED_VALUES.get(model, {}))
    return row.pk


def create_environment() -> AccessEnvironment:
    """Create the users and the owner's objects; call it in a transaction that is rolled back."""
    users = get_user_model().objects
    owner = users.create_user("alice", "alice@example.com", PASSWORD)
    by_role = {
        "other": users.create_user("bob", "bob@example.com", PASSWORD),
        "owner": owner,
        "operator": users.create_superuser("olga", "olga@example.com", PASSWORD),
    }
    create_singletons()
    LimitOverride.objects.create(user=owner, reason="A workshop.")
    sandbox, (token, _) = launch(owner), api_tokens.issue(owner, "alice's laptop")
    env = AccessEnvironment(
        owner,
        {
            "public_id": sandbox.public_id,
            "sandbox_id": sandbox.public_id,
            "host_label": f"{sandbox.public_id.replace('_', '-')}--api",
            "label": "api",
            "name": client.build().name,
            "page": "api",
            "operators_page": "operations",
            "pk": token.pk,
            "key": EmailConfirmationHMAC(_new_email_address()).key,
            "uidb36": user_pk_to_url_str(owner),
            **_webhook(owner),
            **_inbox(sandbox),
            **_save_point(sandbox),
            "provider_id": "oidc",
            "content_type_id": 1,
            "object_id": 1,
            "app_label": "sandboxes",
            "url": "nothing-here",
        },
        _links(sandbox),
    )
    for role, user in by_role.items():
        EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
        env.cookies[role] = {
            name: cookie.value for name, cookie in _signed_in(user).cookies.items()
        }
        _, env.tokens[role] = api_tokens.issue(user, "a script")
    session = UserSession.objects.filter(user=owner).first()
    assert session
    env.links["sessions/<session>/end/"] = reverse("end-session", args=[session.pk])
    return env


def _webhook(owner: User) -> dict[str, object]:
    webhook = baker.make(Webhook, user=owner, url="http://127.0.0.1:9/", slot=1, events=[])
    Webhook.objects.filter(pk=webhook.pk).update(secrets={"current": "whsec_AAAA"})
    done = {"status": DeliveryStatus.DELIVERED, "type": "sandbox.running", "body": "{}"}
    delivery = baker.make(WebhookDelivery, webhook=webhook, **done)
    names = ("message_id", "delivery_id")
    return {"webhook_id": webhook.public_id} | dict.fromkeys(names, delivery.message_id)


def _inbox(sandbox: Sandbox) -> dict[str, object]:
    endpoint = baker.make(
        EventEndpoint, sandbox=sandbox, user=sandbox.owner, endpoint_id="whe_001", event_types=["*"]
    )
    event = SandboxEvent.objects.create(
        sandbox=sandbox, event_id="evt_000000001", type="invoice.paid", body="{}"
    )
    return {
        "endpoint_id": endpoint.endpoint_id,
        "event_id": event.message_id,
        "log_id": "log_000000001",
    }


def _save_point(sandbox: Sandbox) -> dict[str, object]:
    values = {"owner": sandbox.owner, "sandbox": sandbox, "engine": sandbox.engine, "slot": 0}
    row = SavePoint.objects.create(
        **values, name="before", state="ready", blueprint="billing", expires_at=clock.now()
    )
    return {"save_point_id": row.public_id}


def _links(sandbox: Sandbox) -> dict[str, str]:
    assert sandbox.owner
    idle, until = DeadlineKind.IDLE, sandbox.idle_expires_at
    warning = SandboxWarning.objects.create(sandbox=sandbox, deadline_kind=idle, deadline=until)
    invitation = Invitation.objects.create(email="dave@example.com")
    return {
        "keep/<token>/": signed_links.keep_alive_url(warning),
        "unsubscribe/<token>/": signed_links.unsubscribe_url(sandbox.owner, idle),
        "invitations/<signed>/": invitations.link(invitation),
    }


def _new_email_address() -> EmailAddress:
    """Create a user who has just signed up, and return the unverified address."""
    carol = get_user_model().objects.create_user("carol", "carol@example.com", PASSWORD)
    return EmailAddress.objects.create(user=carol, email=carol.email, primary=True)


def _signed_in(user: User) -> Client:
    """Return a signed-in browser that has just confirmed the password, as some pages require."""
    browser = Client()
    browser.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    browser.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    return browser
