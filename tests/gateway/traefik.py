"""Traefik, the real gateway, and a service behind it."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

from sandboxes.core import ports
from sandboxes.models import Sandbox
from tests.helpers.servers import serving
from tests.helpers.wait import wait_for

DOMAIN = "sandboxes.example.net"
BEFORE_RUNNING_SECONDS = 2
"""How long a test waits for a route; a cold launch takes longer from `provisioning` on."""
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PROGRAM = Path(sys.executable).with_name("traefik")


@dataclass(frozen=True)
class Gateway:
    """A running Traefik on 127.0.0.1, with the certificate of the authority that it uses."""

    https_port: int
    postgresql_port: int
    authority: Path

    def tls(self, host: str, port: int = 0, alpn: str = "") -> ssl.SSLSocket:
        """Return a verified connection to a host name."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if alpn:
            context.set_alpn_protocols([alpn])
        plain = socket.create_connection(("127.0.0.1", port or self.https_port), timeout=10)
        return context.wrap_socket(plain, server_hostname=host)

    def presents_its_certificate(self, host: str) -> bool:
        """Return whether a verified connection to a host name succeeds."""
        try:
            self.tls(host).close()
        except (ssl.SSLError, ConnectionError):
            return False
        return True

    def request(self, host: str, path: str = "/", headers: str = "", body: bytes = b"") -> bytes:
        """Return the whole response to a request, as HTTP/1.1 sends it."""
        method = "POST" if body else "GET"
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        with self.tls(host) as connection:
            connection.sendall(head.encode() + body)
            return b"".join(iter(lambda: connection.recv(65_536), b""))


def host_of(sandbox: Sandbox, endpoint: str) -> str:
    return f"{sandbox.public_id.replace('_', '-')}--{endpoint}.{DOMAIN}"


def until_routed(gateway: Gateway, host: str) -> None:
    wait_for(
        lambda: b"200 OK" in gateway.request(host), f"{host} works", BEFORE_RUNNING_SECONDS, 0.05
    )


@contextmanager
def traefik(configuration: Path, gateway: Gateway) -> Iterator[Gateway]:
    """Run Traefik with a static configuration, until the block ends."""
    program = shutil.which("traefik") or str(PROGRAM)
    log = configuration.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program, f"--configfile={configuration}"], stdout=out, stderr=out
        )
    try:
        wait_for(lambda: _accepts(gateway.https_port), "Traefik listens", 20)
        yield gateway
    finally:
        process.terminate()
        process.wait(timeout=15)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class EchoHandler(BaseHTTPRequestHandler):
    """Answers with what it received; streams events; upgrades to a WebSocket that echoes."""

    protocol_version = "HTTP/1.1"
    proceed = threading.Event()
    """The second event is sent once this is set."""

    def do_GET(self) -> None:
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self._upgrade()
        elif self.path == "/events":
            self._stream()
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._answer(json.dumps({"path": self.path, "headers": headers}).encode())

    def do_POST(self) -> None:
        left, digest = int(self.headers["Content-Length"]), hashlib.sha256()
        while left and (chunk := self.rfile.read(min(left, 65_536))):
            digest.update(chunk)
            left -= len(chunk)
        self._answer(digest.hexdigest().encode())

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"first")
        self.wfile.flush()
        if self.proceed.wait(10):
            self.wfile.write(b"second")
        self.close_connection = True

    def _upgrade(self) -> None:
        key = self.headers["Sec-WebSocket-Key"].encode()
        accept = b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        while data := self.connection.recv(1024):
            self.connection.sendall(data)

    def log_message(self, *_: object) -> None:
        pass


Server = TypeVar("Server", bound=socketserver.ThreadingMixIn)


def server_of(
    sandbox: Sandbox,
    service: str,
    server: Callable[[tuple[str, int], type[socketserver.BaseRequestHandler]], Server],
    handler: type[socketserver.BaseRequestHandler],
) -> Server:
    """Return a server on the port that is reserved for a service.

    As at a launch, another port is reserved while a program outside of the test uses it.
    """
    while True:
        port = sandbox.reserved_ports.get(service=service).port
        try:
            started = server(("127.0.0.1", port), handler)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            ports.replace(sandbox, service, {})
        else:
            started.daemon_threads = True
            return started


@contextmanager
def echo_service(sandbox: Sandbox, service: str) -> Iterator[type[EchoHandler]]:
    """Run a web server on the port that is reserved for a service."""
    EchoHandler.proceed.clear()
    with serving(server_of(sandbox, service, ThreadingHTTPServer, EchoHandler)):
        yield EchoHandler


@contextmanager
def forwarding(sandbox: Sandbox, service: str, target: str | tuple[str, int]) -> Iterator[None]:
    """Forward connections to the port of a service to a Unix socket or an address."""

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET
            with socket.socket(family) as other:
                other.connect(target)
                back = threading.Thread(target=_pump, args=(other, self.request))
                back.start()
                _pump(self.request, other)
                back.join()

    with serving(server_of(sandbox, service, socketserver.ThreadingTCPServer, Forward)):
        yield


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
