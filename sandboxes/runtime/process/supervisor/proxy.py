"""TCP proxy in front of the services, which counts callers' bytes.

Services listen on unpublished ports. Only traffic of callers is counted; the portal's own checks
and traffic among services don't pass the proxy.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path

from sandboxes.runtime.process.state_dir import TRAFFIC, Port, SandboxDir

MAX_CHUNK_BYTES = 256 * 1024
OWN_ADDRESS = "127.0.0.1"
# Counted as on a bridge, so that the same number of bytes means activity on every runtime.
PACKET_BYTES = 66
CONNECTION_BYTES = 5 * PACKET_BYTES
"""Packets that open and close a connection or acknowledge, and the header of the first piece."""


class TrafficCounter:
    """Bytes from and to callers, also stored in a file so that a new supervisor continues."""

    def __init__(self, directory: SandboxDir) -> None:
        self.received, self.sent = directory.traffic()
        path: Path = directory.path / "traffic"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.add()

    def add(self, received: int = 0, sent: int = 0) -> None:
        self.received += received
        self.sent += sent
        os.pwrite(self._file, TRAFFIC.pack(self.received, self.sent), 0)


async def listen(
    address: str, port: Port, counter: TrafficCounter, reserved: socket.socket | None
) -> asyncio.Server:
    """Accept connections on a published port, with its reserved socket if there is one.

    Raises OSError.
    """

    async def accept(caller: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await _connect(caller, answer, port.own, counter)
        answer.close()

    if reserved is not None:
        return await asyncio.start_server(accept, sock=reserved, limit=MAX_CHUNK_BYTES)
    return await asyncio.start_server(accept, address, port.published, limit=MAX_CHUNK_BYTES)


async def _connect(
    caller: asyncio.StreamReader, answer: asyncio.StreamWriter, own: int, counter: TrafficCounter
) -> None:
    service, request = await asyncio.open_connection(OWN_ADDRESS, own, limit=MAX_CHUNK_BYTES)
    for writer in (answer, request):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_forward(caller, request, counter, to_caller=False))
            both.create_task(_forward(service, answer, counter, to_caller=True))
    except* OSError:
        pass  # One side has closed, so there is nothing left to forward.
    finally:
        request.close()


async def _forward(
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    counter: TrafficCounter,
    *,
    to_caller: bool,
) -> None:
    overhead = CONNECTION_BYTES
    while piece := await source.read(MAX_CHUNK_BYTES):
        size, overhead = len(piece) + overhead, PACKET_BYTES
        # Counted before they are sent, so that a caller with a response is always counted.
        counter.add(sent=size) if to_caller else counter.add(received=size)
        sink.write(piece)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
    if to_caller:
        # A service that closed its side won't read either.
        raise ConnectionResetError
