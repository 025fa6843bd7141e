"""Ports that stay reserved until a server listens on them."""

from __future__ import annotations

import socket

_held: list[socket.socket] = []


def reserve_port() -> int:
    """Return a port of 127.0.0.1 that stays reserved until this process ends.

    A socket that is bound but doesn't listen keeps the port from every program that asks the kernel
    for any free port. A server that asks for this port, with SO_REUSEADDR as servers do, can listen
    on it and be restarted. Until then connections are refused.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _held.append(holder)
    return int(holder.getsockname()[1])
