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

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.conf import settings as django_settings

from sandboxes.gateway import development_ca
from tests.browser.conftest import CHROMIUM, CHROMIUM_ARGS
from tests.gateway.traefik import EchoHandler, Gateway, host_of, port_of, until_routed
from tests.helpers.scenarios import launch
from tests.helpers.servers import serving

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from playwright.sync_api import BrowserType

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


def test_a_page_with_hsts_calls_the_api_of_a_sandbox(
    gateway: Gateway,
    alice: User,
    runtime: MemoryRuntime,
    browser_type: BrowserType,
    tmp_path: Path,
) -> None:
    sandbox = launch(alice)
    host, port = host_of(sandbox, "api"), port_of(sandbox, "api")
    api = ThreadingHTTPServer(("127.0.0.1", port), Api)
    api.daemon_threads = True
    pin = key_pin(Path(django_settings.SANDBOX_GATEWAY_CERTIFICATE))
    with serving(api), portal_page(tmp_path / "portal") as (page_port, page_pin):
        until_routed(gateway, host)
        arguments = [
            *CHROMIUM_ARGS,
            "--host-resolver-rules=MAP * 127.0.0.1",
            f"--ignore-certificate-errors-spki-list={pin},{page_pin}",
        ]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        browser = browser_type.launch(
            executable_path=CHROMIUM, args=arguments, env=os.environ | {"PATH": path}
        )
        with closing(browser):
            page = browser.new_page()
            page.goto(f"https://{PORTAL}:{page_port}/")
            url = f"https://{host}:{gateway.https_port}/v1/plans"
            with_key = {"headers": {"Authorization": "Bearer key"}}
            assert page.evaluate(FETCH, [url, with_key]) == 200
            # The published port by plain http is what browsers block on such a page.
            assert "Failed to fetch" in page.evaluate(FETCH, [f"http://{host}:{port}/", {}])
            # From now on, the portal's name and those below it are reached by https only.
            page.goto(f"http://{PORTAL}:{page_port}/")
            assert page.url == f"https://{PORTAL}:{page_port}/"
            assert page.evaluate(FETCH, [url, with_key]) == 200
