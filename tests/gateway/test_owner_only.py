"""A sandbox that only its owner may open, behind the real gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from django.test import Client

from sandboxes.accounts import api_tokens
from sandboxes.gateway import access
from sandboxes.models import Sandbox
from tests.gateway.owner_only import owner_only_blueprint
from tests.gateway.traefik import Gateway, echo_service, host_of
from tests.helpers.scenarios import launch
from tests.helpers.wait import wait_for

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture
def sandbox(
    gateway: Gateway,
    alice: User,
    runtime: MemoryRuntime,
    settings: SettingsWrapper,
    tmp_path: Path,
) -> Iterator[Sandbox]:
    owner_only_blueprint(settings, tmp_path)
    row = launch(alice)
    with echo_service(row, "web"):
        host = host_of(row, "web")
        wait_for(lambda: b" 401 " in gateway.request(host)[:20], "the route is there", pause=0.05)
        yield row


def received(response: bytes) -> dict[str, str]:
    """Return the headers that reached the sandbox."""
    head, _, body = response.partition(b"\r\n\r\n")
    assert b" 200 " in head[:20], response
    found: dict[str, str] = json.loads(body)["headers"]
    return found


def enter(gateway: Gateway, sandbox: Sandbox, owner: User) -> str:
    """Open the sandbox in the portal, follow to its host, and return the cookie."""
    portal = Client()
    portal.force_login(owner)
    page = portal.post(f"/sandboxes/{sandbox.public_id}/open/web/", {"path": "/start"})
    target = urlsplit(page.context["redirect_to"])
    assert target.hostname == host_of(sandbox, "web")
    answer = gateway.request(target.hostname, f"{target.path}?{target.query}").decode()
    assert " 303 " in answer[:20]
    origin = f"https://{target.hostname}:{gateway.https_port}"
    assert f"location: {origin}/start\r\n" in answer.lower()
    (cookie,) = [line for line in answer.splitlines() if line.lower().startswith("set-cookie")]
    value, *attributes = cookie.partition(": ")[2].split("; ")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(attributes)
    assert not any(one.startswith("Domain") for one in attributes)
    return value


def test_the_owner_enters_and_the_sandbox_sees_neither_cookie_nor_token(
    gateway: Gateway, sandbox: Sandbox, alice: User
) -> None:
    host, cookie = host_of(sandbox, "web"), enter(gateway, sandbox, alice)
    seen = received(gateway.request(host, "/", f"Cookie: a=1; {cookie}; b=2\r\n"))
    assert seen["cookie"] == "a=1; b=2"
    assert "cookie" not in received(gateway.request(host, "/", f"Cookie: {cookie}\r\n"))
    twice = f"Cookie: a=1\r\nCookie: {cookie}\r\n"
    _, token = api_tokens.issue(alice, "ci")
    for headers in (f"Portal-Token: {token}\r\n", f"portal-token: {token}\r\n{twice}"):
        answer = gateway.request(host, "/", headers)
        assert token not in str(received(answer))
        assert cookie not in str(received(answer))
    # As a hop-by-hop header, it isn't forwarded either, and doesn't authorize.
    dropped = gateway.request(host, "/", f"Cookie: {cookie}\r\nConnection: Cookie\r\n")
    assert b" 401 " in dropped[:20] or cookie.encode() not in dropped

    with gateway.tls(host) as client:
        client.sendall(
            f"GET / HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}Cookie: {cookie}\r\n\r\n".encode()
        )
        assert b" 101 " in client.recv(4096)
        client.sendall(b"through")
        assert client.recv(1024) == b"through"


def test_no_header_host_or_other_cookie_opens_a_sandbox(
    gateway: Gateway, sandbox: Sandbox, alice: User
) -> None:
    other, cookie = launch(alice), enter(gateway, sandbox, alice)
    host, mine = host_of(sandbox, "web"), host_of(other, "web")
    with echo_service(other, "web"):
        wait_for(lambda: b" 401 " in gateway.request(mine)[:20], "the route is there", pause=0.05)
        # The cookie of one host, with headers that name it, doesn't open another host.
        for headers in (
            "",
            f"X-Forwarded-Host: {host}\r\n",
            f"Forwarded: host={host}\r\nX-Original-Host: {host}\r\nX-Host: {host}\r\n",
            f"X-Forwarded-Uri: {access.CODE_PATH}?code=x\r\nX-Forwarded-Method: OPTIONS\r\n",
            "Connection: X-Forwarded-Host, X-Forwarded-Uri, X-Forwarded-Method\r\n",
        ):
            refused = gateway.request(mine, "/", f"Cookie: {cookie}\r\n{headers}")
            assert b" 401 " in refused[:20], headers
        assert b" 401 " in gateway.request(mine, "/", UPGRADE + f"Cookie: {cookie}\r\n")[:20]
    # TLS for one name, and a request for another: the request's host counts.
    with gateway.tls(host) as client:
        client.sendall(f"GET / HTTP/1.1\r\nHost: {mine}\r\nCookie: {cookie}\r\n\r\n".encode())
        assert b" 401 " in client.recv(4096)[:20]

    page = gateway.request(host, "/plans", "Accept: text/html\r\n").decode()
    assert f"/sandboxes/{sandbox.public_id}/open/web/?path=%2Fplans" in page
    assert "content-type: application/problem+json" in gateway.request(host).decode().lower()
