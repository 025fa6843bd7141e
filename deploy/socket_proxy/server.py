"""Serve the proxy's socket: one request per connection, with limits of size, time and number."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from contextlib import suppress
from pathlib import Path

from socket_proxy.engine import CHUNK_BYTES, Engine, EngineFailure, EngineRequest
from socket_proxy.http1 import (
    MAX_HEAD_BYTES,
    Answer,
    Request,
    encode_answer,
    encode_head,
    read_answer_head,
    read_request,
)
from socket_proxy.policy import Policy
from socket_proxy.schema import RequestDenied
from socket_proxy.settings import Settings

MAX_CONNECTIONS = 256
REQUEST_SECONDS = 10
ANSWER_SECONDS = 900
"""Longer than any command in a sandbox or any removal takes."""
LINGER_SECONDS = 1
HANG_UP_INTERVAL_SECONDS = 0.5
MAX_LOGGED_TARGET = 200

log = logging.getLogger("socket_proxy")


class SocketProxy:
    """Decides about each request, and forwards it with the answer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = Engine(settings)
        self.policy = Policy(settings, self.engine)
        self._connections = 0

    async def serve(self, path: Path) -> None:
        """Listen until cancelled."""
        server = await asyncio.start_unix_server(
            self._connected, path, limit=MAX_HEAD_BYTES, backlog=MAX_CONNECTIONS
        )
        async with server:
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= MAX_CONNECTIONS:
            log.warning("closed a connection: %d are open", self._connections)
            writer.close()
            return
        self._connections += 1
        try:
            await self._handle(reader, writer)
        except (OSError, EOFError) as error:
            log.debug("a connection ended early: %s", type(error).__name__)
        except Exception:  # One request must not end the proxy.
            log.exception("a request failed")
        finally:
            self._connections -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                request = await read_request(reader)
        except RequestDenied as denied:
            await self._deny(writer, f"{denied}", "")
            with suppress(TimeoutError):
                # A client that still sends would miss the answer if this closed the connection.
                writer.write_eof()
                async with asyncio.timeout(LINGER_SECONDS):
                    while await reader.read(CHUNK_BYTES):
                        pass
            return
        async with asyncio.timeout(ANSWER_SECONDS):
            answering = asyncio.create_task(self._answer(request, writer))
            hang_up = asyncio.create_task(_hung_up(reader, writer))
            try:
                await asyncio.wait({answering, hang_up}, return_when=asyncio.FIRST_COMPLETED)
                if hang_up.done() and not answering.done():
                    raise EOFError
                await answering
            finally:
                answering.cancel()
                hang_up.cancel()
                await asyncio.gather(answering, hang_up, return_exceptions=True)

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        try:
            decision = await self.policy.decide(request)
        except RequestDenied as denied:
            await self._deny(writer, f"{denied}", f"{request.method} {request.path}")
        except EngineFailure as failure:
            await self._send(writer, Answer.error(502, f"{failure}"))
        else:
            if isinstance(decision, Answer):
                await self._send(writer, decision)
            else:
                await self._forward(decision, writer)

    async def _forward(self, request: EngineRequest, writer: asyncio.StreamWriter) -> None:
        try:
            engine_reader, engine_writer = await self.engine.send(request)
        except OSError as error:
            message = f"the engine didn't answer ({type(error).__name__})"
            await self._send(writer, Answer.error(502, message))
            return
        try:
            try:
                status, headers = await read_answer_head(engine_reader)
            except (OSError, EOFError, ValueError) as error:
                message = f"the engine hung up ({type(error).__name__})"
                await self._send(writer, Answer.error(502, message))
                return
            writer.write(encode_head(status, headers, self.settings.api_version))
            while piece := await engine_reader.read(CHUNK_BYTES):
                writer.write(piece)
                await writer.drain()
        finally:
            engine_writer.close()

    async def _deny(self, writer: asyncio.StreamWriter, reason: str, target: str) -> None:
        log.warning("denied: %s: %s", target[:MAX_LOGGED_TARGET], ascii(reason))
        await self._send(writer, Answer.error(403, f"Denied by the Docker socket proxy: {reason}."))

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        writer.write(encode_answer(answer, self.settings.api_version))
        await writer.drain()


async def _hung_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Return once the client has closed its connection.

    A client that only shuts down its own direction still reads. Anything that it sends after its
    request is discarded.
    """
    while await reader.read(CHUNK_BYTES):
        pass
    connection: socket.socket = writer.get_extra_info("socket")
    poll = select.poll()
    poll.register(connection.fileno(), 0)
    while not poll.poll(0):
        await asyncio.sleep(HANG_UP_INTERVAL_SECONDS)
