"""Who asks, and what there is to be asked for: all of it is alice's, or nobody's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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

from sandboxes import tokens
from sandboxes.models import LimitOverride, Site
from sandboxes.webhooks import managing, outbox
from tests.access.addresses import Address
from tests.acting import launch
from tests.conftest import PASSWORD

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpResponse

PEOPLE = ("nobody", "other", "owner", "operator")
"""Not signed in; bob; alice, whose everything is; olga, who may do all that the admin offers."""

ADMIN_ROW = re.compile(r"admin/(\w+)/(\w+)/<")
WRITE = re.compile(r'^(?:INSERT INTO|UPDATE|DELETE FROM|REPLACE INTO) "(\w+)"')
FOR_PROGRAMS = "/api/v1/"
NO_MATTER = {"django_session"}
"""Written while somebody looks."""

RECIPES: dict[str, dict[str, Any]] = {
    "auditentry": {"reason": "Because."},
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
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def path(self, address: Address) -> str:
        """Where it is, about something of alice's. Raises KeyError for an unknown argument."""
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
        cache.clear()
        browser = self._browser(who, path, csrf)
        with undone(), CaptureQueriesContext(connection) as queries:
            if method == "POST" and not path.startswith(FOR_PROGRAMS):
                response = browser.post(path, data or {})
            else:
                body = "" if data is None else json.dumps(data)
                response = browser.generic(method, path, body, "application/json")
        found = (WRITE.match(query["sql"]) for query in queries)
        return Answer(word(response), {hit[1] for hit in found if hit} - NO_MATTER, response)

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
    hook, _ = managing.create(owner, "https://hooks.example.com/", ["sandbox.running"])
    message = outbox.send_test(hook).message_id
    world = World(
        owner,
        {
            "public_id": sandbox.public_id,
            "sandbox_id": sandbox.public_id,
            "pk": token.pk,
            "key": EmailConfirmationHMAC(_new_address()).key,
            "uidb36": user_pk_to_url_str(owner),
            "content_type_id": 1,
            "object_id": 1,
            "app_label": "sandboxes",
            "url": "nothing-here",
            "provider_id": "nobody-set-it-up",
            "signed": "forged",
            "token": "forged",
            "webhook_id": hook.public_id,
            "message_id": message,
            "delivery_id": message,
        },
    )
    for who, user in people.items():
        EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
        world.cookies[who] = {name: one.value for name, one in _signed_in(user).cookies.items()}
        _, world.tokens[who] = tokens.issue(user, "a program")
        tokens.authenticate(world.tokens[who])  # Its use is noted to the minute.
    world.arguments["session"] = UserSession.objects.filter(user=owner).latest("pk").pk
    return world


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
