"""Serve the proxy's socket: one request per connection, with limits of size, time and number.

Over the network, a connection needs a client certificate of the portal (`tls`).
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import ssl
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
from socket_proxy.operations import image_operations
from socket_proxy.policy import Policy
from socket_proxy.schema import RequestDenied, require
from socket_proxy.settings import Settings
from socket_proxy.tls import Certificates, common_name

MAX_CONNECTIONS = 256
REQUEST_SECONDS = 10
ANSWER_SECONDS = 900
"""Longer than any command in a sandbox or any removal takes."""
LINGER_SECONDS = 1
HANG_UP_INTERVAL_SECONDS = 0.5
ACCEPT_PAUSE_SECONDS = 1.0
"""After a connection that couldn't be accepted, such as for lack of file descriptors."""
MAX_LOGGED_TARGET = 200

log = logging.getLogger("socket_proxy")


class SocketProxy:
    """Decides about each request, and forwards it with the answer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = Engine(settings)
        self.policy = Policy(settings, self.engine)
        self.clients = {
            settings.client: self.policy,
            settings.operator: Policy(settings, self.engine, image_operations()),
        }
        self._connections = 0

    async def serve(self, path: Path) -> None:
        """Listen until cancelled."""
        server = await asyncio.start_unix_server(
            self._connected, path, limit=MAX_HEAD_BYTES, backlog=MAX_CONNECTIONS
        )
        async with server:
            await server.serve_forever()

    async def serve_tls(self, address: tuple[str, int], certificates: Certificates) -> None:
        """Listen on an address of this machine until cancelled."""
        loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        with socket.create_server(address, family=family, backlog=MAX_CONNECTIONS) as listener:
            listener.setblocking(False)
            while True:
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError as error:
                    log.warning("couldn't accept a connection: %s", error)
                    await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                    continue
                if self._is_full():
                    connection.close()
                    continue
                self._connections += 1
                task = asyncio.create_task(self._connected_by_tls(connection, certificates))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    async def _connected_by_tls(
        self, connection: socket.socket, certificates: Certificates
    ) -> None:
        """Handle a connection, which counts before its certificate is known."""
        peer = "a client"
        try:
            peer = connection.getpeername()[0]
            reader, writer = await _encrypted(connection, certificates.context())
        except (OSError, EOFError) as error:
            connection.close()
            reason = getattr(error, "verify_message", "") or getattr(error, "reason", "")
            log.warning("refused a connection of %s: %s", peer, reason or type(error).__name__)
            return
        finally:
            self._connections -= 1
        await self._connected(reader, writer)

    def _is_full(self) -> bool:
        if self._connections < MAX_CONNECTIONS:
            return False
        log.warning("closed a connection: %d are open", self._connections)
        return True

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_full():
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
            policy = self._policy_of(writer)
            async with asyncio.timeout(REQUEST_SECONDS):
                request = await read_request(reader, policy.takes_upload)
        except RequestDenied as denied:
            await self._deny(writer, f"{denied}", "")
            await _linger(reader, writer)
            return
        async with asyncio.timeout(ANSWER_SECONDS):
            if request.upload:
                # The body ends early if the client hangs up.
                await self._answer(policy, request, writer)
                await _linger(reader, writer)
                return
            answering = asyncio.create_task(self._answer(policy, request, writer))
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

    def _policy_of(self, writer: asyncio.StreamWriter) -> Policy:
        """Return what a client may do. Deny others, such as an engine with its certificate."""
        certificate = writer.get_extra_info("peercert")
        if not certificate:
            return self.policy
        name = common_name(certificate)
        require(
            name in self.clients,
            f"the client's certificate is for “{name}”, not for “{self.settings.client}”",
        )
        return self.clients[name]

    async def _answer(self, policy: Policy, request: Request, writer: asyncio.StreamWriter) -> None:
        try:
            decision = await policy.decide(request)
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


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read on for a moment: a client that still sends would otherwise miss the answer."""
    with suppress(TimeoutError):
        if writer.can_write_eof():
            writer.write_eof()
        async with asyncio.timeout(LINGER_SECONDS):
            while await reader.read(CHUNK_BYTES):
                pass


async def _encrypted(
    connection: socket.socket, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return the streams of a connection once both sides have verified their certificates.

    Raises OSError, EOFError.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(MAX_HEAD_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol,
        connection,
        ssl=context,
        ssl_handshake_timeout=REQUEST_SECONDS,
        ssl_shutdown_timeout=LINGER_SECONDS,
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _hung_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Return once the client has closed its connection.

    A client that only shuts down its own direction still reads, except over TLS. Anything that it
    sends after its request is discarded.
    """
    while await reader.read(CHUNK_BYTES):
        pass
    if writer.get_extra_info("sslcontext"):
        return
    connection: socket.socket = writer.get_extra_info("socket")
    poll = select.poll()
    poll.register(connection.fileno(), 0)
    while not poll.poll(0):
        await asyncio.sleep(HANG_UP_INTERVAL_SECONDS)
