"""Where callers come in: passes bytes on to a service, and counts them.

Services listen on ports that nobody is told of. So what is counted here is what callers sent and
got; the portal's own checks and the talk among services never come by.
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
# As a bridge would count them, so that the same number of bytes means use on every runtime.
CONNECTION_BYTES = 256
PACKET_BYTES = 66


class TrafficCounter:
    """Bytes from and to callers, in a file as well: a new supervisor goes on counting."""

    def __init__(self, folder: SandboxDir) -> None:
        self.received, self.sent = folder.traffic()
        path: Path = folder.path / "traffic"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.add()

    def add(self, received: int = 0, sent: int = 0) -> None:
        self.received += received
        self.sent += sent
        os.pwrite(self._file, TRAFFIC.pack(self.received, self.sent), 0)


async def listen(
    address: str, port: Port, counter: TrafficCounter, reserved: socket.socket | None
) -> asyncio.Server:
    """Accept callers on a published port from now on, by its socket if it is reserved.

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
            both.create_task(_pass_on(caller, request, counter, to_caller=False))
            both.create_task(_pass_on(service, answer, counter, to_caller=True))
    except* OSError:
        pass  # One side has gone, so there is nothing left to pass on.
    finally:
        request.close()


async def _pass_on(
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    counter: TrafficCounter,
    *,
    to_caller: bool,
) -> None:
    around = CONNECTION_BYTES
    while piece := await source.read(MAX_CHUNK_BYTES):
        size, around = len(piece) + around, PACKET_BYTES
        # Before they are sent: whoever has an answer has been counted.
        counter.add(sent=size) if to_caller else counter.add(received=size)
        sink.write(piece)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
    if to_caller:
        # A service that has closed will not read on either.
        raise ConnectionResetError
