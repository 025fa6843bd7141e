"""The connection to the engine, with one fixed API version."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from socket_proxy.http1 import MAX_HEAD_BYTES, Answer, Upload, encode_request, read_answer_head
from socket_proxy.settings import Settings

MAX_LOOKUP_BYTES = 32 << 20
LOOKUP_SECONDS = 30
CHUNK_BYTES = 1 << 16

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class EngineFailure(Exception):
    """The engine didn't answer, or its answer can't be understood."""


@dataclass(frozen=True)
class EngineRequest:
    """A request to the engine; every part was built from parsed values."""

    method: str
    path: str
    query: dict[str, str]
    body: Any = None
    upload: Upload | None = None


class Engine:
    """Sends requests to the engine's socket."""

    def __init__(self, settings: Settings) -> None:
        self.socket = settings.engine
        self.api_version = settings.api_version

    async def fetch(self, path: str, query: dict[str, str] | None = None) -> Answer:
        """Return the whole answer to a GET request. Raises EngineFailure."""
        content = bytearray()
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                reader, writer = await self.send(EngineRequest("GET", path, query or {}))
                try:
                    status, headers = await read_answer_head(reader)
                    async for piece in _body(reader, headers):
                        content += piece
                        if len(content) > MAX_LOOKUP_BYTES:
                            raise EngineFailure("the engine's answer is too large")
                finally:
                    writer.close()
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise EngineFailure(f"the engine didn't answer ({type(error).__name__})") from error
        return Answer(status, bytes(content))

    async def send(self, request: EngineRequest) -> Streams:
        """Send a request, and return the streams to read the answer. Raises OSError, EOFError."""
        reader, writer = await asyncio.open_unix_connection(self.socket, limit=MAX_HEAD_BYTES)
        path = f"/v{self.api_version}{request.path}"
        upload = request.upload
        length = upload.length if upload else None
        writer.write(encode_request(request.method, path, request.query, request.body, length))
        try:
            await writer.drain()
            if upload:
                async for piece in upload.pieces():
                    writer.write(piece)
                    await writer.drain()
        except BaseException:
            writer.close()
            raise
        return reader, writer


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> Any:
    """Yield the pieces of a body. Raises EOFError if it is incomplete, ValueError."""
    if headers.get("transfer-encoding") == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            if size > MAX_LOOKUP_BYTES:
                raise ValueError("the chunk is too large")
            yield await reader.readexactly(size)
            await reader.readexactly(2)
    elif "content-length" in headers:
        length = int(headers["content-length"])
        if length > MAX_LOOKUP_BYTES:
            raise ValueError("the body is too large")
        yield await reader.readexactly(length)
    else:
        while piece := await reader.read(CHUNK_BYTES):
            yield piece
