"""Addresses of containers and of this machine, and a server that sandboxes may try to reach."""

from __future__ import annotations

import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager

from sandboxes.runtime import SandboxSpec
from tests.harness.runtimes import DockerHarness
from tests.helpers.servers import serving


def own_address(harness: DockerHarness, spec: SandboxSpec, service: str) -> str:
    """Return the address of a service in its sandbox's network."""
    networks = harness.inspect(spec, service)["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["IPAddress"])


def host_address() -> str:
    """Return this machine's address, as other hosts see it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@contextmanager
def page_on(address: str, port: int = 0) -> Iterator[int]:
    """Run a server on this machine that responds with `ok`; yield its port, by default any."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.0 200 OK\r\n\r\nok\n")

    server = socketserver.ThreadingTCPServer((address, port), Answer)
    with serving(server):
        yield server.server_address[1]
