"""The gateway: requests through Traefik compared with a TLS server, and the poll of routes."""

from __future__ import annotations

import json
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from django.test import override_settings

from sandboxes.gateway import development_ca, routes, static_configuration
from tests.bench.environment import PortalEnvironment, call_in_portal
from tests.gateway.traefik import DOMAIN, Gateway, traefik
from tests.harness.ports import reserve_port
from tests.helpers.wait import wait_for

ROUTES = 500
WARM_UP = 100
SANDBOXES, POLLS = 167, 20
"""Sandboxes of the shipped blueprint have three routes each."""
TOKEN = "t" * 32


class Service(BaseHTTPRequestHandler):
    """A service that answers at once; also the portal's routes, all of which lead to it."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # One packet for each response.

    def do_GET(self) -> None:
        here = f"127.0.0.1:{self.server.server_address[1]}"
        content = _routes(here) if self.path == "/gateway/routes" else b"ok"
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def _routes(address: str) -> bytes:
    found = [
        routes.Route(_label(number), routes.Protocol.HTTP, address) for number in range(ROUTES)
    ]
    return json.dumps(routes.configuration(found, "")).encode()


def _label(number: int) -> str:
    return f"sbx-{number}--api"


def latency(requests: int) -> dict[str, Any]:
    """Measure single requests, alternately through the gateway and directly, in seconds."""
    with tempfile.TemporaryDirectory() as folder, _servers(Path(folder)) as (gateway, direct):
        host = f"{_label(ROUTES // 2)}.{DOMAIN}"
        with gateway.tls(host) as through, gateway.tls(host, direct) as to_service:
            for connection in (through, to_service):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pairs = [
                (_seconds(through, host), _seconds(to_service, host))
                for _ in range(WARM_UP + requests)
            ][WARM_UP:]
    return {
        "routes": ROUTES,
        "through": [ours for ours, _ in pairs],
        "direct": [bare for _, bare in pairs],
    }


def routes_of_a_portal(env: PortalEnvironment) -> dict[str, Any]:
    """Measure the CPU time of the portal's answer to a poll of the gateway, in seconds."""
    measured: dict[str, Any] = call_in_portal(env.portal, "answer_routes", SANDBOXES, POLLS)
    return measured


def _seconds(connection: ssl.SSLSocket, host: str) -> float:
    began = time.perf_counter()
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    received = b""
    while not received.endswith(b"ok"):
        more = connection.recv(65_536)
        assert more, received
        received += more
    seconds = time.perf_counter() - began
    assert b" 200 " in received[:20], received
    return seconds


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[Gateway, int]]:
    """Run Traefik in front of a service, and the same service with TLS; yield the latter's port."""
    authority, certificate, key = development_ca.write(folder / "tls", DOMAIN)
    gateway = Gateway(reserve_port(), reserve_port(), authority)
    configured = override_settings(
        SANDBOX_DOMAIN=DOMAIN,
        SANDBOX_GATEWAY_TOKEN=TOKEN,
        SANDBOX_GATEWAY_CERTIFICATE=str(certificate),
        SANDBOX_GATEWAY_KEY=str(key),
        SANDBOX_GATEWAY_HTTPS_PORT=gateway.https_port,
        SANDBOX_GATEWAY_POSTGRESQL_PORT=gateway.postgresql_port,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with configured, _serving() as plain, _serving(context) as direct:
        file = folder / "traefik.yaml"
        static = static_configuration.configuration(f"http://127.0.0.1:{plain}", "127.0.0.1")
        file.write_text(json.dumps(static))
        with traefik(file, gateway):
            last = f"{_label(ROUTES - 1)}.{DOMAIN}"
            wait_for(lambda: gateway.presents_its_certificate(last), "Traefik has routes")
            yield gateway, direct


@contextmanager
def _serving(context: ssl.SSLContext | None = None) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
