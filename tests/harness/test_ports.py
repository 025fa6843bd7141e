"""A reserved port goes to no other program, and a server can listen on it and be restarted."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from socket import create_server

from tests.harness.ports import reserve_port

PORTS = 500


def test_the_kernel_does_not_assign_a_reserved_port() -> None:
    reserved = {reserve_port() for _ in range(5)}
    with ExitStack() as servers:
        given = [servers.enter_context(create_server(("127.0.0.1", 0))) for _ in range(PORTS)]
        assert reserved.isdisjoint(server.getsockname()[1] for server in given)


def test_a_server_can_listen_on_a_reserved_port_and_restart() -> None:
    port = reserve_port()
    for _ in range(2):
        with socket.socket() as caller:
            assert caller.connect_ex(("127.0.0.1", port)) != 0
        with create_server(("127.0.0.1", port)), socket.socket() as caller:
            assert caller.connect_ex(("127.0.0.1", port)) == 0
