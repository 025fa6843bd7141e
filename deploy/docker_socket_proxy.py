r"""A proxy for the Docker socket that allows only what the portal needs, on its own objects.

Access to the Docker socket is root access to the machine. Access to the proxy's socket allows
creating, inspecting, and removing the sandboxes of one instance, with the isolation that the
portal gives every sandbox:

    SANDBOX_INSTANCE=production SANDBOX_SUBNETS=10.213.0.0/16 \
        python3 deploy/docker_socket_proxy.py /run/sandbox-portal-engine/engine.sock

Uses only the standard library. Requests, body keys, and objects without the instance's label are
denied with 403 unless they are known to be harmless. Bodies are serialized again after parsing, so
that the engine can't read them differently from the proxy.
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
    """Listens at `path` and forwards the requests that the policy allows to the engine's socket."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path, engine: str, instance: str, subnets: str) -> None:
        path.unlink(missing_ok=True)
        self.engine, self.policy = engine, ProxyPolicy(instance, subnets, self.inspect)
        super().__init__(str(path), ProxyHandler)

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.engine)
        return connection

    def inspect(self, path: str) -> Any:
        """Return the engine's description of an object, or None if it doesn't exist."""
        client = http.client.HTTPConnection("engine", timeout=ENGINE_TIMEOUT_SECONDS)
        client.sock = self.connect()
        try:
            client.request("GET", path)
            response = client.getresponse()
            description = json.loads(response.read())
        finally:
            client.close()
        require(
            response.status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND),
            "couldn't look up the object's labels",
        )
        return description if response.status == HTTPStatus.OK else None


class ProxyHandler(BaseHTTPRequestHandler):
    """Handles one request per connection."""

    server: SocketProxy

    def handle(self) -> None:
        self.close_connection = True
        self.handle_one_request()

    def forward(self) -> None:
        try:
            body = self._read_body()
            self.server.policy.check(self.command, self.path, body)
        except (RequestDenied, ValueError, TypeError, AttributeError, LookupError) as error:
            self._deny(f"{error}" if isinstance(error, RequestDenied) else "malformed request")
            return
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{self.command} {self.path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        with self.server.connect() as engine:
            engine.sendall(head.encode("ascii") + content)
            while chunk := engine.recv(CHUNK_BYTES):
                self.connection.sendall(chunk)

    do_GET = do_HEAD = do_POST = do_DELETE = do_PUT = forward  # noqa: N815 - names of the base class

    def _read_body(self) -> Any:
        require("transfer-encoding" not in self.headers, "Content-Length is required")
        length = int(self.headers.get("content-length") or 0)
        require(0 <= length <= MAX_BODY_BYTES, "the body is too large")
        return json.loads(self.rfile.read(length)) if length else None

    def _deny(self, reason: str) -> None:
        self.log_message("denied: %s %s: %s", self.command, self.path, reason)
        message = f"Denied by the Docker socket proxy: {reason}."
        content = json.dumps({"message": message}).encode()
        self.wfile.write(
            b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(content) + content
        )

    def log_request(self, *_: object) -> None:
        """Log nothing: only denied requests are logged."""

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
