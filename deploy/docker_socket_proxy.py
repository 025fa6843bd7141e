"""Stands before the engine's socket and lets through what the portal needs, of its own objects.

Whoever holds the engine's socket is root on its machine. Whoever holds this one can make, look into
and remove sandboxes of one instance, dressed as the portal dresses them, and nothing else:

    SANDBOX_INSTANCE=production SANDBOX_SUBNETS=10.213.0.0/16 \\
        python3 deploy/docker_socket_proxy.py /run/sandbox-portal-engine/engine.sock

Needs nothing but Python. What is not known to be harmless is refused with 403: calls, keys of a
body, and objects that don't bear the instance's label. Bodies are written anew from what was
understood, so that nothing is read in two ways.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

from docker_socket_rules import ProxyPolicy, RequestDenied, require

MAX_BODY_BYTES = 1 << 20
CHUNK_BYTES = 1 << 16
ENGINE_TIMEOUT_SECONDS = 30


class SocketProxy(ThreadingUnixStreamServer):
    """Listens at `path`, and passes on to the engine's socket what the rules let through."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path, engine: str, instance: str, subnets: str) -> None:
        path.unlink(missing_ok=True)
        self.engine, self.policy = engine, ProxyPolicy(instance, subnets, self.inspect)
        super().__init__(str(path), ProxyHandler)

    def connect(self) -> socket.socket:
        door = socket.socket(socket.AF_UNIX)
        door.connect(self.engine)
        return door

    def inspect(self, path: str) -> Any:
        """What the engine says of an object; None when it has no such."""
        asking = http.client.HTTPConnection("engine", timeout=ENGINE_TIMEOUT_SECONDS)
        asking.sock = self.connect()
        try:
            asking.request("GET", path)
            answer = asking.getresponse()
            told = json.loads(answer.read())
        finally:
            asking.close()
        require(
            answer.status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND),
            "the engine does not say whose it is",
        )
        return told if answer.status == HTTPStatus.OK else None


class ProxyHandler(BaseHTTPRequestHandler):
    """One request for each connection."""

    server: SocketProxy

    def handle(self) -> None:
        self.close_connection = True
        self.handle_one_request()

    def forward(self) -> None:
        try:
            body = self._body()
            self.server.policy.check(self.command, self.path, body)
        except (RequestDenied, ValueError, TypeError, AttributeError, LookupError) as error:
            self._deny(f"{error}" if isinstance(error, RequestDenied) else "it is not understood")
            return
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{self.command} {self.path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        with self.server.connect() as engine:
            engine.sendall(head.encode("ascii") + content)
            while piece := engine.recv(CHUNK_BYTES):
                self.connection.sendall(piece)

    do_GET = do_HEAD = do_POST = do_DELETE = do_PUT = forward  # noqa: N815 - names of the base class

    def _body(self) -> Any:
        require("transfer-encoding" not in self.headers, "its length is not told")
        length = int(self.headers.get("content-length") or 0)
        require(0 <= length <= MAX_BODY_BYTES, "it is too long")
        return json.loads(self.rfile.read(length)) if length else None

    def _deny(self, why: str) -> None:
        self.log_message("refused: %s %s: %s", self.command, self.path, why)
        content = json.dumps({"message": f"Not let through to the engine: {why}."}).encode()
        self.wfile.write(
            b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(content) + content
        )

    def log_request(self, *_: object) -> None:
        """What was let through is nothing to tell."""

    def address_string(self) -> str:
        return "portal"


def main() -> None:
    engine = os.environ.get("ENGINE_SOCKET", "/var/run/docker.sock")
    instance = os.environ["SANDBOX_INSTANCE"]
    subnets = os.environ.get("SANDBOX_SUBNETS", "10.213.0.0/16")
    with SocketProxy(Path(sys.argv[1]), engine, instance, subnets) as proxy:
        proxy.serve_forever()


if __name__ == "__main__":
    main()
