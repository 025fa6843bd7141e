"""Who asks, and what there is to be asked for: all of it is alice's, or nobody's."""

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

from sandboxes import links, tokens
from sandboxes.accounts import invitations
from sandboxes.models import (
    Clock,
    Invitation,
    LimitOverride,
    Outcome,
    Sandbox,
    SandboxWarning,
    Site,
    Webhook,
    WebhookDelivery,
)
from tests import fuzz
from tests.access.routes import Address
from tests.acting import launch
from tests.conftest import PASSWORD

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpResponse

PEOPLE = ("nobody", "other", "owner", "operator")
"""Not signed in; bob; alice, whose everything is; olga, who may do all that the admin offers."""

ADMIN_ROW = re.compile(r"admin/(\w+)/(\w+)/<")
NO_MATTER = '"django_session"|"usersessions_usersession"|"sandboxes_apitoken" SET "last_used_at"'
"""Written while somebody looks."""
WRITE = re.compile(rf'^(?:INSERT INTO|UPDATE|DELETE FROM|REPLACE INTO) (?!{NO_MATTER})"(\w+)"')
FOR_PROGRAMS = "/api/v1/"

RECIPES: dict[str, dict[str, Any]] = {
    "auditentry": {"reason": "Because."},
    "webhookdelivery": {"outcome": Outcome.DELIVERED},
    "authenticator": {"type": "totp", "data": {}},
}
"""What a row of such a model needs besides any values at all."""


@dataclass
class Answer:
    """What came back, in a word: a status, `in` for “sign in first”, `on` to another page."""

    word: str
    wrote: set[str]
    response: HttpResponse


@dataclass
class World:
    """Everybody with a browser that is signed in and a token for programs."""

    owner: User
    arguments: dict[str, object]
    """What stands for each name in angle brackets."""
    links: dict[str, str]
    """Where the addresses are that mails lead to, by route."""
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def path(self, address: Address) -> str:
        """Where it is, about something of alice's. Raises KeyError for an unknown argument."""
        if address.route in self.links:
            return urlsplit(self.links[address.route]).path
        values = dict(self.arguments)
        if row := ADMIN_ROW.match(address.route):
            values["object_id"] = values["id"] = _row_of(*row.groups())
        return address.path(values)

    def ask(
        self, who: str, method: str, path: str, data: Any = None, *, csrf: bool = True
    ) -> Answer:
        """Send it as this person, look what was written, and undo it.

        Programs send a token, browsers a session; without `csrf`, as another site would have it.
        """
        fuzz.counted["questions"] += 1
        cache.clear()
        browser = self._browser(who, path, csrf)
        with undone(), CaptureQueriesContext(connection) as queries:
            if method == "POST" and not path.startswith(FOR_PROGRAMS):
                response = browser.post(path, data or {})
            else:
                body = "" if data is None else json.dumps(data)
                response = browser.generic(method, path, body, "application/json")
        found = (WRITE.match(query["sql"]) for query in queries)
        return Answer(word(response), {hit[1] for hit in found if hit}, response)

    def _browser(self, who: str, path: str, csrf: bool) -> Client:
        by_token = who in self.tokens and path.startswith(FOR_PROGRAMS) and csrf
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if by_token else {}
        browser = Client(not csrf, raise_request_exception=False, headers=headers)
        if who in self.cookies and not by_token:
            browser.cookies.load(self.cookies[who])
        return browser


@contextmanager
def undone() -> Iterator[None]:
    """Nothing that happens inside is left."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def word(response: HttpResponse) -> str:
    if 300 <= response.status_code < 400:
        entrances = (reverse("account_login"), reverse("admin:login"))
        return "in" if response["Location"].startswith(entrances) else "on"
    return str(response.status_code)


def _row_of(app: str, model: str) -> object:
    """One that is there, or a new one."""
    kind = apps.get_model(app, model)
    row = kind._default_manager.first() or baker.make(kind, **RECIPES.get(model, {}))
    return row.pk


def build() -> World:
    """Call it inside a transaction that is rolled back."""
    make = get_user_model().objects
    owner = make.create_user("alice", "alice@example.com", PASSWORD)
    people = {
        "other": make.create_user("bob", "bob@example.com", PASSWORD),
        "owner": owner,
        "operator": make.create_superuser("olga", "olga@example.com", PASSWORD),
    }
    Site.current()
    LimitOverride.objects.create(user=owner, reason="A workshop.")
    sandbox, (token, _) = launch(owner), tokens.issue(owner, "alice's laptop")
    world = World(
        owner,
        {
            "public_id": sandbox.public_id,
            "sandbox_id": sandbox.public_id,
            "pk": token.pk,
            "key": EmailConfirmationHMAC(_new_address()).key,
            "uidb36": user_pk_to_url_str(owner),
            **_webhook(owner),
            "provider_id": "oidc",
            "content_type_id": 1,
            "object_id": 1,
            "app_label": "sandboxes",
            "url": "nothing-here",
        },
        _links(sandbox),
    )
    for who, user in people.items():
        EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
        world.cookies[who] = {name: one.value for name, one in _signed_in(user).cookies.items()}
        _, world.tokens[who] = tokens.issue(user, "a program")
    session = UserSession.objects.filter(user=owner).first()
    assert session
    world.links["sessions/<session>/end/"] = reverse("end-session", args=[session.pk])
    return world


def _webhook(owner: User) -> dict[str, object]:
    webhook = baker.make(Webhook, user=owner, url="http://127.0.0.1:9/", slot=1, events=[])
    Webhook.objects.filter(pk=webhook.pk).update(secrets={"current": "whsec_AAAA"})
    done = {"outcome": Outcome.DELIVERED, "type": "sandbox.running", "body": "{}"}
    delivery = baker.make(WebhookDelivery, webhook=webhook, **done)
    names = ("message_id", "delivery_id")
    return {"webhook_id": webhook.public_id} | dict.fromkeys(names, delivery.message_id)


def _links(sandbox: Sandbox) -> dict[str, str]:
    assert sandbox.owner
    idle, until = Clock.IDLE, sandbox.idle_expires_at
    warning = SandboxWarning.objects.create(sandbox=sandbox, clock=idle, deadline=until)
    invitation = Invitation.objects.create(email="dave@example.com")
    return {
        "keep/<token>/": links.rescue_url(warning),
        "unsubscribe/<token>/": links.unsubscribe_url(sandbox.owner, idle),
        "invitations/<signed>/": invitations.link(invitation),
    }


def _new_address() -> EmailAddress:
    """That of somebody who has signed up just now."""
    carol = get_user_model().objects.create_user("carol", "carol@example.com", PASSWORD)
    return EmailAddress.objects.create(user=carol, email=carol.email, primary=True)


def _signed_in(user: User) -> Client:
    """Their browser, with the password typed a moment ago, as some pages want it."""
    browser = Client()
    browser.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    browser.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    return browser
