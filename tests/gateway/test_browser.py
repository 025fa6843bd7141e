"""A developer's https page, in a real browser, that calls a sandbox's API through the gateway."""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sandboxes.gateway import access, development_ca
from sandboxes.models import Sandbox
from tests.browser.conftest import CHROMIUM, CHROMIUM_ARGS
from tests.browser.page_runner import session_cookie
from tests.gateway.owner_only import owner_only_blueprint
from tests.gateway.traefik import (
    DOMAIN,
    EchoHandler,
    Gateway,
    echo_service,
    host_of,
    server_of,
    until_routed,
)
from tests.helpers.scenarios import launch
from tests.helpers.servers import serving

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from playwright.sync_api import Browser, BrowserType, Page
    from pytest_django.fixtures import SettingsWrapper
    from pytest_django.live_server_helper import LiveServer

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PORTAL = "portal.example.com"
HSTS = "max-age=31536000; includeSubDomains; preload"
FETCH = """async ([url, options]) => {
  try { return (await fetch(url, options)).status } catch (error) { return String(error) }
}"""


class PortalPage(BaseHTTPRequestHandler):
    """A page with the header that the portal sends over https."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Strict-Transport-Security", HSTS)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!DOCTYPE html><title>page</title>")

    def log_message(self, *_: object) -> None:
        pass


class Api(EchoHandler):
    """An API that allows requests of pages of all origins, with a key in a header."""

    def do_OPTIONS(self) -> None:  # noqa: N802 - the name that http.server calls
        self._answer(b"")

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "Authorization")
        super().end_headers()


def key_pin(certificate: Path) -> str:
    """Return the hash by which Chromium recognizes a key that it trusts."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


@contextmanager
def portal_page(folder: Path) -> Iterator[tuple[int, str]]:
    """Serve the page by https; yield its port and the pin of its key."""
    _, certificate, key = development_ca.write(folder, "example.com")
    server = ThreadingHTTPServer(("127.0.0.1", 0), PortalPage)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield server.server_port, key_pin(certificate)


@contextmanager
def chromium(browser_type: BrowserType, *pins: str) -> Iterator[Browser]:
    """Run a browser that trusts these keys, and finds all hosts on this machine."""
    arguments = [
        *CHROMIUM_ARGS,
        "--host-resolver-rules=MAP * 127.0.0.1",
        f"--ignore-certificate-errors-spki-list={','.join(pins)}",
    ]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    browser = browser_type.launch(
        executable_path=CHROMIUM, args=arguments, env=os.environ | {"PATH": path}
    )
    with closing(browser):
        yield browser


@pytest.fixture
def gateway_pin(gateway: Gateway, settings: SettingsWrapper) -> str:
    return key_pin(Path(settings.SANDBOX_GATEWAY_CERTIFICATE))


def test_a_page_with_hsts_calls_the_api_of_a_sandbox(
    gateway: Gateway,
    gateway_pin: str,
    alice: User,
    runtime: MemoryRuntime,
    browser_type: BrowserType,
    tmp_path: Path,
) -> None:
    sandbox = launch(alice)
    host, api = host_of(sandbox, "api"), server_of(sandbox, "api", ThreadingHTTPServer, Api)
    with serving(api), portal_page(tmp_path / "portal") as (page_port, page_pin):
        until_routed(gateway, host)
        with chromium(browser_type, gateway_pin, page_pin) as browser:
            page = browser.new_page()
            page.goto(f"https://{PORTAL}:{page_port}/")
            url = f"https://{host}:{gateway.https_port}/v1/plans"
            with_key = {"headers": {"Authorization": "Bearer key"}}
            assert page.evaluate(FETCH, [url, with_key]) == 200
            # The published port by plain http is what browsers block on such a page.
            assert "Failed to fetch" in page.evaluate(
                FETCH, [f"http://{host}:{api.server_port}/", {}]
            )
            # From now on, the portal's name and those below it are reached by https only.
            page.goto(f"http://{PORTAL}:{page_port}/")
            assert page.url == f"https://{PORTAL}:{page_port}/"
            assert page.evaluate(FETCH, [url, with_key]) == 200


def test_the_owner_opens_a_sandbox_and_pages_of_others_do_not_use_the_cookie(
    gateway: Gateway,
    gateway_pin: str,
    live_server: LiveServer,
    alice: User,
    runtime: MemoryRuntime,
    settings: SettingsWrapper,
    browser_type: BrowserType,
    tmp_path: Path,
) -> None:
    owner_only_blueprint(settings, tmp_path)
    sandbox, hostile = launch(alice), launch(alice)
    session = session_cookie(alice) | {"domain": urlsplit(live_server.url).hostname}
    with (
        echo_service(sandbox, "web"),
        echo_service(hostile, "web"),
        chromium(browser_type, gateway_pin) as browser,
    ):
        context = browser.new_context()
        context.add_cookies([session])  # type: ignore[list-item]
        portal = context.new_page()

        def opened(row: Sandbox) -> Page:
            portal.goto(f"{live_server.url}/sandboxes/{row.public_id}/")
            with portal.expect_popup() as popup:
                portal.get_by_role("button", name="Open Web").click()
            popup.value.wait_for_url(f"{origin(row)}/")
            return popup.value

        def origin(row: Sandbox) -> str:
            return f"https://{host_of(row, 'web')}:{gateway.https_port}"

        page = opened(sandbox)
        assert access.COOKIE not in page.content()
        assert page.evaluate(FETCH, ["/own", {"method": "POST", "body": "x"}]) == 200

        other = opened(hostile)
        target = f"{origin(sandbox)}/steal"
        for options in ({"method": "POST", "body": "x"}, {}):
            crossing = options | {"mode": "no-cors", "credentials": "include"}
            with context.expect_event("response", lambda one: one.url == target) as answer:
                other.evaluate(FETCH, [target, crossing])
            assert answer.value.status == 401
        # Cookies for all sandboxes don't replace the one of the host.
        other.evaluate(f"document.cookie = '{access.COOKIE}=x; Secure; Path=/; Domain={DOMAIN}'")
        other.evaluate(f"document.cookie = '=x; Secure; Path=/; Domain={DOMAIN}'")
        assert page.reload().status == 200  # type: ignore[union-attr]
