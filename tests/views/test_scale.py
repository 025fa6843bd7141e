"""Queries and pagination of pages and the API with many rows."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sandboxes.admin import base
from sandboxes.models import Event, Sandbox
from tests.harness import bulk_data
from tests.helpers.admin import SANDBOXES
from tests.helpers.api_client import ApiClient
from tests.helpers.scenarios import create_singletons
from tests.helpers.web import HTMX, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.store]

Look = tuple[Client, str, int]
"""User, URL, and expected status."""


def _card_poll(web: Client) -> str:
    newest = Sandbox.objects.live().newest_first()[0]
    page = web.get(f"/sandboxes/{newest.public_id}/").content.decode()
    return re.findall(r'hx-get="(/sandboxes/[^"]*/card/\?etag=[^"]*)"', page)[0]


def _overview_poll(web: Client) -> str:
    page = unescape(web.get("/").content.decode())
    return re.findall(r'hx-get="(/overview/[^"]*)"', page)[0]


LOOKS: dict[str, tuple[int, Callable[[Client, Client, Client, Sandbox], Look]]] = {
    "dashboard": (9, lambda web, _api, _desk, _row: (web, "/", 200)),
    "card, nothing new": (4, lambda web, _api, _desk, _row: (web, _card_poll(web), 204)),
    "overview, nothing new": (4, lambda web, _api, _desk, _row: (web, _overview_poll(web), 204)),
    "history": (5, lambda web, _api, _desk, _row: (web, "/history/", 200)),
    "one sandbox": (8, lambda web, _api, _desk, row: (web, f"/sandboxes/{row.public_id}/", 200)),
    "API list": (3, lambda _web, api, _desk, _row: (api, "/api/v1/sandboxes", 200)),
    "API get": (3, lambda _web, api, _desk, row: (api, f"/api/v1/sandboxes/{row.public_id}", 200)),
    "API limits": (7, lambda _web, api, _desk, _row: (api, "/api/v1/limits", 200)),
    "admin, sandboxes": (4, lambda _web, _api, admin, _row: (admin, SANDBOXES, 200)),
    "admin, search": (
        5,
        lambda _web, _api, admin, _row: (admin, f"{SANDBOXES}?q=alice@", 200),
    ),
    "admin, events": (
        4,
        lambda _web, _api, admin, _row: (admin, "/admin/sandboxes/event/", 200),
    ),
    "admin, users": (
        5,
        lambda _web, _api, admin, _row: (admin, "/admin/auth/user/", 200),
    ),
}
"""URLs, and the maximum number of queries."""


@pytest.mark.parametrize("name", LOOKS)
def test_queries_do_not_grow_from_1_to_20_sandboxes(
    alice: User, olga: User, settings, name: str
) -> None:
    settings.SANDBOX_MAX_PER_USER = 50
    settings.SANDBOX_MAX_SITE = 100
    create_singletons()
    web, admin_client, api = Client(), Client(), ApiClient(alice).client
    web.force_login(alice)
    admin_client.force_login(olga)
    most, choose = LOOKS[name]

    def asked() -> list[str]:
        client, url, status = choose(web, api, admin_client, row)
        headers = HTMX if status == 204 else {}
        assert client.get(url, headers=headers).status_code == status
        with CaptureQueriesContext(connection) as queries:
            client.get(url, headers=headers)
        return [query["sql"] for query in queries]

    bulk_data.create_ended(2, {alice: 1})
    row = bulk_data.create_running(1, alice)[0]
    few = asked()
    bulk_data.create_ended(38, {alice: 19})
    bulk_data.create_running(19, alice)
    many = asked()

    assert len(many) == len(few), many
    assert len(many) <= most, many


def _shown(page: str) -> list[str]:
    return re.findall(r'<article[^>]*id="card-(sbx_\w+)"', page)


def _older(page: str) -> str:
    found = re.search(r'href="(\?cursor=[^"]*)"[^>]*>Older', page)
    return f"/history/{found[1]}" if found else ""


def test_history_pages_are_complete_while_sandboxes_end(web: Client, alice: User) -> None:
    bulk_data.create_ended(45, {alice: 45})
    rows = alice.sandboxes.order_by("-ended_at")
    # At the same time, so that the cursor must distinguish them.
    moment = rows[20].ended_at
    alice.sandboxes.filter(pk__in=[row.pk for row in rows[15:27]]).update(ended_at=moment)
    there = [row.public_id for row in alice.sandboxes.order_by("-ended_at", "-pk")]
    seen, url = [], "/history/"
    while url:
        page = web.get(url).content.decode()
        seen += _shown(page)
        url = _older(page)
        bulk_data.create_ended(3, {alice: 3})

    assert len(seen) == len(set(seen))
    assert [name for name in seen if name in there] == there


def test_an_invalid_history_page_redirects_to_the_first(web: Client, alice: User) -> None:
    bulk_data.create_ended(21, {alice: 21})
    assert web.get("/history/?cursor=x")["Location"] == "/history/"
    assert len(_shown(web.get("/history/?page=2").content.decode())) == 20


def test_older_history_pages_link_to_the_first(web: Client, alice: User) -> None:
    bulk_data.create_ended(21, {alice: 21})
    first = web.get("/history/")
    assert "Newest" not in text(first)
    second = web.get(_older(first.content.decode()))
    assert "Newest" in text(second)
    assert "Older" not in text(second)
    assert len(_shown(second.content.decode())) == 1


def test_the_admin_caps_the_count_of_rows(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "MAX_COUNTED", 60)
    bulk_data.create_ended(70)
    page = admin_client.get(f"{SANDBOXES}?p=2")

    assert "First 60 sandboxes. Search or filter" in text(page)
    assert len(page.context["cl"].result_list) == 10
    assert admin_client.get(f"{SANDBOXES}?p=3").status_code == 302
    assert "60 results" not in text(admin_client.get(f"{SANDBOXES}?q=sbx"))
    assert "70 sandboxes" not in text(page)


def test_the_admin_shows_the_exact_count_below_the_cap(admin_client: Client) -> None:
    bulk_data.create_ended(3)
    assert "3 sandboxes" in text(admin_client.get(SANDBOXES))
    assert "0 results" in text(admin_client.get(f"{SANDBOXES}?q=nothing"))


def test_events_are_found_by_sandbox_kind_and_actor(
    admin_client: Client, alice: User, bob: User
) -> None:
    bulk_data.create_ended(4, {alice: 1, bob: 2})
    hers = alice.sandboxes.get()

    def found(question: str) -> set[Event]:
        listed = admin_client.get("/admin/sandboxes/event/", {"q": question})
        return set(listed.context["cl"].result_list)

    assert found(hers.public_id) == set(hers.events.all())
    assert found("running") == set(Event.objects.filter(kind="running"))
    assert found("BOB@example.com") == set(Event.objects.filter(actor=bob))
    assert found(f"{hers.public_id} running") == set(hers.events.filter(kind="running"))
    assert found("sbx_0000000000000000") == found("bob@example.com alice@example.com") == set()


def test_sandboxes_are_found_by_name_id_and_owner(
    admin_client: Client, alice: User, bob: User
) -> None:
    bulk_data.create_ended(9, {alice: 3, bob: 3})
    Sandbox.objects.filter(pk=alice.sandboxes.first().pk).update(name="Checkout of Ann")

    def found(question: str) -> set[Sandbox]:
        return set(admin_client.get(SANDBOXES, {"q": question}).context["cl"].result_list)

    hers = Sandbox.objects.get(name="Checkout of Ann")
    assert found("of ann") == {hers}
    assert found(hers.public_id) == found(hers.public_id[:12]) == {hers}
    assert found("alice@") == found("ALICE") == set(alice.sandboxes.all())
    assert found("alice ann") == {hers}
    assert found("bob@ ann") == set()
