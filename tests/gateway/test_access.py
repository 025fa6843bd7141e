"""Sandboxes that only their owners may open: what the portal tells the gateway."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client

from sandboxes.accounts import api_tokens
from sandboxes.actions import gateway_access
from sandboxes.gateway import access, routes
from sandboxes.models import Sandbox, Scope, State
from tests.gateway.owner_only import owner_only_blueprint
from tests.gateway.traefik import DOMAIN
from tests.helpers.scenarios import launch

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpResponse
    from pytest_django.fixtures import DjangoAssertNumQueries, SettingsWrapper

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.django_db

PASSWORD = "correct-horse-battery"


@pytest.fixture
def sandbox(
    alice: User, runtime: MemoryRuntime, settings: SettingsWrapper, tmp_path: Path
) -> Sandbox:
    settings.SANDBOX_DOMAIN = DOMAIN
    settings.SITE_URL = "https://portal.example.com"
    owner_only_blueprint(settings, tmp_path)
    return launch(alice)


@pytest.fixture
def portal(alice: User) -> Client:
    """Return a browser that is signed in at the portal as the owner."""
    alice.set_password(PASSWORD)
    alice.save()
    client = Client()
    client.force_login(alice)
    return client


def label_of(sandbox: Sandbox, endpoint: str = "web") -> str:
    return f"{sandbox.public_id.replace('_', '-')}--{endpoint}"


def ask(label: str, uri: str = "/", **headers: str) -> HttpResponse:
    """Ask the portal as the gateway does."""
    forwarded = {"X-Forwarded-Uri": uri, "X-Forwarded-Method": "GET"}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    response: Any = Client().get(f"/gateway/authorize/{label}", headers=forwarded | names)
    return response


def code_for(portal: Client, sandbox: Sandbox, path: str = "/") -> str:
    """Open the sandbox in the portal, and return the URL to which that leads."""
    url = f"/sandboxes/{sandbox.public_id}/open/web/"
    page = portal.post(url, {"path": path}).context["redirect_to"]
    return str(page)


def enter(url: str) -> HttpResponse:
    """Follow the portal's redirect to the sandbox's host."""
    label = (urlsplit(url).hostname or "").partition(".")[0]
    return ask(label, url.removeprefix(f"https://{urlsplit(url).netloc}"))


def cookie_of(portal: Client, sandbox: Sandbox) -> str:
    return f"{access.COOKIE}={enter(code_for(portal, sandbox)).cookies[access.COOKIE].value}"


@pytest.mark.store
def test_the_owner_gets_a_cookie_of_the_host_for_a_code(portal: Client, sandbox: Sandbox) -> None:
    url = code_for(portal, sandbox, "/plans?a=b&c=d#e")
    assert url.startswith(f"https://{label_of(sandbox)}.{DOMAIN}{access.CODE_PATH}?code=")

    entered = enter(url)
    assert entered.status_code == 303
    assert entered["Location"] == f"https://{label_of(sandbox)}.{DOMAIN}/plans?a=b&c=d#e"
    cookie = entered.cookies[access.COOKIE]
    assert cookie["secure"] and cookie["httponly"] and cookie["path"] == "/"
    assert (cookie["domain"], cookie["samesite"]) == ("", "Lax")

    again = enter(url)
    assert again.status_code == 401
    assert not again.cookies


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "@evil.example", "/\\evil.example", "\r\nX:"]
)
def test_a_code_never_leads_to_another_host(portal: Client, sandbox: Sandbox, path: str) -> None:
    target = urlsplit(enter(code_for(portal, sandbox, path))["Location"])
    assert target.netloc == f"{label_of(sandbox)}.{DOMAIN}"


@pytest.mark.store
def test_a_code_is_for_one_host_and_one_minute(
    portal: Client, sandbox: Sandbox, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = parse_qs(urlsplit(code_for(portal, sandbox)).query)["code"]
    assert gateway_access.redeem_code(code, label_of(launch(alice))) is None
    assert gateway_access.redeem_code(code, label_of(sandbox)) is None  # Used up.
    monkeypatch.setattr(gateway_access, "CODE_SECONDS", -1)
    assert enter(code_for(portal, sandbox)).status_code == 401


@pytest.mark.store
@pytest.mark.django_db(transaction=True)
def test_a_code_is_exchanged_once_by_concurrent_requests(portal: Client, sandbox: Sandbox) -> None:
    (code,) = parse_qs(urlsplit(code_for(portal, sandbox)).query)["code"]

    def redeem(_: int) -> str | None:
        try:
            return gateway_access.redeem_code(code, label_of(sandbox))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        assert sum(cookie is not None for cookie in threads.map(redeem, range(8))) == 1


def test_only_the_owner_gets_a_code_by_a_post_of_the_portals_own_page(
    portal: Client, sandbox: Sandbox, bob: User
) -> None:
    url = f"/sandboxes/{sandbox.public_id}/open/web/"
    page = portal.get(url, {"path": "/plans"})
    assert 'name="path" value="/plans"' in page.content.decode()
    stranger = Client()
    assert stranger.post(url).status_code == 302
    stranger.force_login(bob)
    assert stranger.post(url).status_code == stranger.get(url).status_code == 404

    checking = Client(enforce_csrf_checks=True)
    checking.force_login(sandbox.owner)
    assert checking.post(url).status_code == 403
    other = portal.post(f"/sandboxes/{sandbox.public_id}/open/store/")
    assert other["Location"] == f"/sandboxes/{sandbox.public_id}/"


def test_the_sandbox_gets_its_own_cookies_but_not_the_portals(
    portal: Client, sandbox: Sandbox
) -> None:
    own = cookie_of(portal, sandbox)
    for sent, forwarded in (
        (own, None),
        (f"a=1; {own}; b=2", "a=1; b=2"),
        (f"{own}; {own}; sessionid=x", "sessionid=x"),
        (f"a=1,{own}", "a=1"),
        (f'a="x; {own}; b=y"', 'a="x; b=y"'),
        (f"{access.COOKIE}=forged; {own}", None),
        (f"{access.COOKIE.lower()}=other; {own}; c=3", "c=3"),
    ):
        response = ask(label_of(sandbox), Cookie=sent)
        assert (response.status_code, response.get("Cookie")) == (200, forwarded), sent
        assert access.TOKEN_HEADER not in response


def test_a_cookie_opens_nothing_but_its_host(portal: Client, sandbox: Sandbox, alice: User) -> None:
    own, other = cookie_of(portal, sandbox), launch(alice)
    assert ask(label_of(sandbox), Cookie=own).status_code == 200
    assert ask(label_of(other), Cookie=own).status_code == 401
    assert ask(label_of(sandbox, "store"), Cookie=own).status_code == 401
    assert ask(label_of(sandbox), Cookie=own[:-3] + "AAA").status_code == 401
    assert ask(label_of(sandbox), Cookie=f"{access.COOKIE}=é").status_code == 401


def test_nothing_but_the_cookie_and_the_token_counts(portal: Client, sandbox: Sandbox) -> None:
    """The portal's own session doesn't, and its response never touches cookies."""
    session = portal.cookies["sessionid"].value
    for headers in (
        {"Cookie": f"sessionid={session}"},
        {"Authorization": "Bearer x", "X_Forwarded_User": "alice", "X_Forwarded_Host": "x"},
        {"Cookie": "sessionid=unknown"},
    ):
        response = ask(label_of(sandbox), **headers)
        assert response.status_code == 401
        assert not response.cookies


@pytest.mark.parametrize("end", ["sign out", "password", "session", "inactive", "owner", "state"])
def test_access_ends_with_the_session_and_the_sandbox(
    portal: Client, sandbox: Sandbox, alice: User, bob: User, end: str
) -> None:
    own = cookie_of(portal, sandbox)
    rows = Sandbox.objects.filter(pk=sandbox.pk)
    match end:
        case "sign out":
            portal.post("/accounts/logout/")
        case "password":
            alice.set_password("another-horse-battery")
            alice.save()
        case "session":
            Session.objects.all().delete()
        case "inactive":
            type(alice).objects.filter(pk=alice.pk).update(is_active=False)
        case "owner":
            rows.update(owner=bob)
        case "state":
            rows.update(state=State.DESTROYING, end_reason="user", slot=None)
    assert ask(label_of(sandbox), Cookie=own).status_code == 401


def test_a_change_of_the_secret_key_ends_neither_access_nor_the_session(
    portal: Client, sandbox: Sandbox, settings: SettingsWrapper
) -> None:
    own = cookie_of(portal, sandbox)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "k" * 50
    assert ask(label_of(sandbox), Cookie=own).status_code == 200
    assert portal.get("/").status_code == 200


def test_a_pooled_sandbox_is_open_to_no_user(portal: Client, sandbox: Sandbox, alice: User) -> None:
    own = cookie_of(portal, sandbox)
    _, token = api_tokens.issue(alice, "ci")
    Sandbox.objects.filter(pk=sandbox.pk).update(
        owner=None, state=State.POOLED, from_pool=True, slot=None
    )
    assert ask(label_of(sandbox), Cookie=own).status_code == 401
    assert ask(label_of(sandbox), Portal_Token=token).status_code == 403


def test_a_token_with_full_access_is_as_good(sandbox: Sandbox, alice: User, bob: User) -> None:
    def status(user: User, scope: Scope) -> int:
        token = api_tokens.issue(user, "ci", scope)[1]
        return ask(label_of(sandbox), Portal_Token=token, Cookie="a=1").status_code

    assert status(alice, Scope.ALL) == 200
    assert status(alice, Scope.LAUNCH) == status(alice, Scope.READ) == 403
    assert status(bob, Scope.ALL) == 403

    row, token = api_tokens.issue(alice, "ci")
    api_tokens.revoke(row)
    assert ask(label_of(sandbox), Portal_Token=token).status_code == 401
    assert ask(label_of(sandbox), Portal_Token="sbp_x").status_code == 401


OWN = f"https://{{}}.{DOMAIN}"
SIBLING = f"https://sbx-evil--web.{DOMAIN}"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("POST", {"Origin": OWN, "Sec_Fetch_Site": "same-origin"}, 200),
        ("GET", {"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate"}, 200),
        (
            "GET",
            {
                "Sec_Fetch_Site": "cross-site",
                "Sec_Fetch_Mode": "navigate",
                "Sec_Fetch_Dest": "document",
            },
            200,
        ),
        ("POST", {"Origin": SIBLING, "Sec_Fetch_Site": "same-site"}, 401),
        ("POST", {"Origin": "null"}, 401),
        ("GET", {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors"}, 401),
        (
            "GET",
            {
                "Sec_Fetch_Site": "same-site",
                "Sec_Fetch_Mode": "navigate",
                "Sec_Fetch_Dest": "iframe",
            },
            401,
        ),
        (
            "POST",
            {
                "Sec_Fetch_Site": "same-site",
                "Sec_Fetch_Mode": "navigate",
                "Sec_Fetch_Dest": "document",
            },
            401,
        ),
        # A WebSocket of another sandbox's page.
        ("GET", {"Origin": SIBLING, "Sec_Fetch_Site": "same-site", "Upgrade": "websocket"}, 401),
    ],
)
def test_pages_of_other_sandboxes_do_not_use_the_cookie(
    portal: Client, sandbox: Sandbox, method: str, headers: dict[str, str], status: int
) -> None:
    sent = {name: value.format(label_of(sandbox)) for name, value in headers.items()}
    sent |= {"X_Forwarded_Method": method, "Cookie": cookie_of(portal, sandbox)}
    assert ask(label_of(sandbox), **sent).status_code == status


def test_browsers_get_a_page_and_other_clients_problem_details(sandbox: Sandbox) -> None:
    page = ask(label_of(sandbox), "/plans?a=<b>", Accept="text/html,*/*;q=0.8")
    assert page.status_code == 401
    link = f"https://portal.example.com/sandboxes/{sandbox.public_id}/open/web/?path=%2Fplans"
    assert f'href="{link}%3Fa%3D%3Cb%3E"' in page.content.decode()
    # The page looks like the portal's pages, although its host is the sandbox's.
    assert 'rel="stylesheet" href="https://portal.example.com/static/' in page.content.decode()
    policy = page["Content-Security-Policy"].split("; ")
    assert "style-src 'self' https://portal.example.com" in policy

    problem = ask(label_of(sandbox), Accept="*/*")
    assert problem["Content-Type"] == "application/problem+json"
    assert problem["WWW-Authenticate"] == access.TOKEN_HEADER
    assert problem.json()["title"] == "Unauthorized"  # type: ignore[attr-defined]


def middlewares(found: list[routes.Route]) -> list[dict[str, Any]]:
    return list(routes.configuration(found, "")["http"]["middlewares"].values())


def test_only_http_endpoints_of_these_blueprints_are_asked_about(sandbox: Sandbox) -> None:
    http = routes.configuration(routes.current(), "http://portal:8000")["http"]
    label = label_of(sandbox)
    assert http["routers"][label]["middlewares"] == [label]
    forward = http["middlewares"][label]["forwardAuth"]
    assert forward["address"] == f"http://portal:8000/gateway/authorize/{label}"
    assert "trustForwardHeader" not in forward

    other = routes.Route("sbx-open--api", routes.Protocol.HTTP, "127.0.0.1:1")
    assert not any("forwardAuth" in one for one in middlewares([other]))


def test_the_card_and_the_api_say_who_has_access(portal: Client, sandbox: Sandbox) -> None:
    page = portal.get("/").content.decode()
    assert "Only you can open" in page and "Portal-Token: YOUR_API_TOKEN" in page
    assert f'action="/sandboxes/{sandbox.public_id}/open/web/"' in page
    (entry,) = portal.get("/api/v1/blueprints").json()["data"]
    assert entry["access"] == "owner"


def test_a_request_takes_three_queries(
    portal: Client, sandbox: Sandbox, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    own = cookie_of(portal, sandbox)
    ask(label_of(sandbox), Cookie=own)
    with django_assert_num_queries(3):
        ask(label_of(sandbox), Cookie=own)
