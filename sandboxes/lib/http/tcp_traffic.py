"""Traffic of a TCP connection as its path counts it, with the headers of all packets."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Self

HEADER_BYTES = 66
"""Ethernet, IPv4 and TCP with time stamps; a few more with IPv6."""
TCP_INFO = struct.Struct("=120x QQ II")
"""Of `struct tcp_info` (linux/tcp.h): bytes acknowledged, bytes received, packets out, packets in.
"""
CLOSING_PACKETS = 4
"""Packets in each direction that follow when the connection is closed: at most this many, so that
the portal's own traffic isn't taken for the owner's."""


@dataclass(frozen=True)
class Traffic:
    """Bytes sent and received."""

    sent: int = 0
    received: int = 0

    def __add__(self, other: Traffic) -> Self:
        return type(self)(self.sent + other.sent, self.received + other.received)


def measure(connection: socket.socket) -> Traffic:
    """Return the traffic of a connection that is about to be closed; none if it is unknown."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:  # Not on Linux.
        return Traffic()
    try:
        found = connection.getsockopt(socket.IPPROTO_TCP, option, TCP_INFO.size)
        acknowledged, received, packets_out, packets_in = TCP_INFO.unpack(found)
    except (OSError, struct.error):
        return Traffic()
    return Traffic(
        acknowledged + HEADER_BYTES * (packets_out + CLOSING_PACKETS),
        received + HEADER_BYTES * (packets_in + CLOSING_PACKETS),
    )
