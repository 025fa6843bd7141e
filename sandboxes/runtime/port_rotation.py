"""The order in which sandboxes get host ports.

A client may go on using the address of a sandbox that has ended, and sends its key along. Ports are
therefore used in turn: one that was freed is given to another sandbox only after all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

HOST_PORTS = range(16_384, 32_768)
"""Ports for sandboxes, below those that the kernel and the engine choose for others."""
PORTS_PER_SANDBOX = 4
"""Most sandboxes publish fewer. More are allowed; a taken port is then replaced by another."""


def candidate(ports: Sequence[int], instance: str, number: int, position: int) -> int:
    """Return a port for a published port of the sandbox with this number.

    `position` counts the sandbox's published ports.
    """
    start = crc32(instance.encode())
    turn = number * PORTS_PER_SANDBOX + position
    return ports[(start + turn) % len(ports)]
