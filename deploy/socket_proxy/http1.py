"""Strict parsing of HTTP/1.1 requests and of the head of the engine's answers.

There is one request per connection, and its bytes never reach the engine: the engine gets a
request of its own. So a request that two parsers could understand differently is refused here and
can't be smuggled.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_plus, urlencode

from socket_proxy.schema import RequestDenied, require

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 1 << 20
MAX_UPLOAD_BYTES = 64 << 30
UPLOAD_CHUNK_BYTES = 1 << 16

REQUEST_LINE = re.compile(r"([A-Z]{1,10}) (/[!-~]*) HTTP/1\.[01]")
HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([ -~\t]*)")
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?")
FORWARDED_HEADERS = ("content-type", "content-length", "transfer-encoding")


@dataclass(frozen=True)
class Upload:
    """A body that is forwarded while it arrives."""

    reader: asyncio.StreamReader
    length: int

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body. Raises EOFError if the client hangs up."""
        left = self.length
        while left:
            piece = await self.reader.read(min(left, UPLOAD_CHUNK_BYTES))
            if not piece:
                raise EOFError
            left -= len(piece)
            yield piece


@dataclass(frozen=True)
class Request:
    """A request as the client sent it, with its query decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    upload: Upload | None = None


@dataclass(frozen=True)
class Answer:
    """A complete answer: a status and a JSON document."""

    status: int
    content: bytes

    @classmethod
    def json(cls, status: int, value: Any) -> Answer:
        return cls(status, json.dumps(value).encode())

    @classmethod
    def error(cls, status: int, message: str) -> Answer:
        return cls.json(status, {"message": message})


def takes_no_upload(_method: str, _path: str) -> bool:
    return False


async def read_request(
    reader: asyncio.StreamReader, takes_upload: Callable[[str, str], bool] = takes_no_upload
) -> Request:
    """Read one request, but not an upload. Raises RequestDenied, or EOFError at a hang-up.

    `takes_upload` returns whether the body for a method and a path is one.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise RequestDenied(f"the head is longer than {MAX_HEAD_BYTES} bytes") from None
    try:
        first, *lines = head.decode("ascii")[:-4].split("\r\n")
    except UnicodeDecodeError:
        raise RequestDenied("the head isn't ASCII") from None
    match = REQUEST_LINE.fullmatch(first)
    require(match, "malformed request line")
    assert match
    path, query = _parse_target(match[2])
    if takes_upload(match[1], path):
        length = _body_length(_headers(lines), MAX_UPLOAD_BYTES)
        return Request(match[1], path, query, b"", Upload(reader, length))
    length = _body_length(_headers(lines), MAX_BODY_BYTES)
    return Request(match[1], path, query, await reader.readexactly(length))


def _headers(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        match = HEADER.fullmatch(line)
        require(match, "malformed header")
        assert match
        name = match[1].lower()
        require(name not in found, f"the header {name} occurs twice")
        found[name] = match[2].strip(" \t")
    return found


def _body_length(headers: Mapping[str, str], most: int) -> int:
    require("transfer-encoding" not in headers, "send Content-Length, not Transfer-Encoding")
    require("upgrade" not in headers, "connections can't be upgraded")
    length = headers.get("content-length", "0")
    require(re.fullmatch(r"[0-9]{1,12}", length), "malformed Content-Length")
    require(int(length) <= most, f"the body is larger than {most} bytes")
    return int(length)


def _parse_target(target: str) -> tuple[str, dict[str, str]]:
    path, _, query = target.partition("?")
    # The SDK encodes the `@` of an image's digest. Nothing else needs an encoding.
    path = path.replace("%40", "@")
    require(not re.search("[%;#]", path), "encoded characters aren't allowed in the path")
    return path, dict(_parse_query(query))


def _parse_query(query: str) -> list[tuple[str, str]]:
    """Return the parameters; a server must not be able to read other ones."""
    if not query:
        return []
    pairs: list[tuple[str, str]] = []
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        require(re.fullmatch(r"[a-z][a-z_-]*", name) and equals, "malformed query")
        require(not re.search(r"[;#]|%(?![0-9A-Fa-f]{2})", value), "malformed query")
        require(name not in dict(pairs), f"the query parameter {name} occurs twice")
        try:
            pairs.append((name, unquote_plus(value, errors="strict")))
        except UnicodeDecodeError:
            raise RequestDenied("malformed query") from None
    return pairs


def encode_request(
    method: str, path: str, query: Mapping[str, str], body: Any, upload_length: int | None = None
) -> bytes:
    """Return the bytes of a request to the engine, without an upload.

    `body` is None, bytes of a tar archive, or becomes JSON.
    """
    target = f"{path}?{urlencode(query)}" if query else path
    lines = [f"{method} {target} HTTP/1.1", "Host: docker", "Connection: close"]
    kind, content = "application/json", b""
    if isinstance(body, bytes):
        kind, content = "application/x-tar", body
    elif body is not None:
        content = json.dumps(body).encode()
    if body is not None:
        lines.append(f"Content-Type: {kind}")
    elif upload_length is not None:
        lines.append("Content-Type: application/x-tar")
    if method != "GET":
        lines.append(f"Content-Length: {upload_length or len(content)}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + content


def encode_answer(answer: Answer, api_version: str) -> bytes:
    headers = {"content-type": "application/json", "content-length": str(len(answer.content))}
    return encode_head(answer.status, headers, api_version) + answer.content


def encode_head(status: int, headers: Mapping[str, str], api_version: str) -> bytes:
    """Return the head of an answer to the client, with those headers that describe its body."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", f"Api-Version: {api_version}", "Connection: close"]
    lines += [f"{name.title()}: {headers[name]}" for name in FORWARDED_HEADERS if name in headers]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


async def read_answer_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Return status and headers of the engine's answer. Raises EOFError, ValueError."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise ValueError("the head of the engine's answer is too long") from error
    first, *lines = head[:-4].split(b"\r\n")
    match = STATUS_LINE.fullmatch(first)
    if not match:
        raise ValueError("the engine's answer isn't HTTP")
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return int(match[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}
