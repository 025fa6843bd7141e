"""APIs as they answer inside sandboxes: real HTTP servers on this machine, which tests steer.

The memory runtime gives out ports on which nobody listens; `at` puts one of these behind a sandbox.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sandboxes.blueprints import load
from sandboxes.models import Sandbox
from tests.helpers.scenarios import reload

BILLING = Path(load("billing").path) / "api"


@cache
def billing_document() -> dict[str, Any]:
    """What the API of the `billing` blueprint says of itself, made by its own code."""
    sys.path.insert(0, str(BILLING))
    try:
        operations = import_module("billing_api.app").OPERATIONS
        text = import_module("billing_api.openapi").specification(operations)
    finally:
        sys.path.remove(str(BILLING))
    found: dict[str, Any] = json.loads(text)
    return found


@dataclass
class Asked:
    """A request that came."""

    method: str
    target: str
    headers: dict[str, str]
    body: str


@dataclass
class Reply:
    """What is answered in place of the usual; with `drips`, byte by byte without an end."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    drips: bool = False
    drips_headers: bool = False


class SandboxApi(ThreadingHTTPServer):
    """Lists that can be added to, described by a document; `replies` by path go over all that."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.document: dict[str, Any] = billing_document()
        self.replies: dict[str, Reply] = {}
        self.asked: list[Asked] = []
        self.stopped = Event()
        self.things: dict[str, list[dict[str, Any]]] = {
            "plans": [plan(number) for number in range(12)],
        }

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def targets(self) -> list[str]:
        """The requests that came, but for those of the document."""
        told = [f"{one.method} {one.target}" for one in self.asked]
        return [line for line in told if line != "GET /openapi.json"]

    def reply(self, asked: Asked) -> Reply:
        url = urlsplit(asked.target)
        if url.path in self.replies:
            return self.replies[url.path]
        if url.path == "/openapi.json":
            return Reply(body=json.dumps(self.document).encode())
        kind, _, key = url.path.removeprefix("/v1/").partition("/")
        if asked.method == "POST":
            made = {"id": f"new_{len(self.things[kind])}", **json.loads(asked.body)}
            self.things[kind].insert(0, made)
            return Reply(201, json.dumps(made).encode())
        found = self._one(kind, key) if key else self._page(kind, parse_qs(url.query))
        return Reply(200 if found else 404, json.dumps(found or {"status": 404}).encode())

    def _one(self, kind: str, key: str) -> dict[str, Any] | None:
        return next((thing for thing in self.things.get(kind, []) if thing["id"] == key), None)

    def _page(self, kind: str, query: dict[str, list[str]]) -> dict[str, Any]:
        things = self.things.get(kind, [])
        start, size = int(query.get("cursor", ["0"])[0]), int(query.get("limit", ["20"])[0])
        end = start + size
        following = str(end) if end < len(things) else None
        page = {"data": things[start:end], "has_more": bool(following), "next_cursor": following}
        return page | {"total": len(things)}


def plan(number: int) -> dict[str, Any]:
    return {
        "id": f"plan_{number}",
        "name": f"Plan {number}",
        "description": "",
        "amount": f"{number}.00",
        "currency": "EUR",
        "billing_interval": "month",
        "trial_days": 0,
        "active": True,
        "created_at": "2026-01-31T12:00:00Z",
        "updated_at": None,
    }


class Handler(BaseHTTPRequestHandler):
    server: SandboxApi

    def do_GET(self) -> None:
        size = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(size).decode()
        asked = Asked(
            self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body
        )
        self.server.asked.append(asked)
        self._send(self.server.reply(asked))

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name in {"do_POST", "do_PATCH", "do_PUT", "do_DELETE"}:
            return self.do_GET
        raise AttributeError(name)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if not reply.drips:
            self.send_header("Content-Length", str(len(reply.body)))
        while reply.drips_headers and not self.server.stopped.wait(0.05):
            self.send_header("X-More", "1")
            self.flush_headers()
        self.end_headers()
        try:
            self.wfile.write(reply.body)
            while reply.drips and not self.server.stopped.wait(0.05):
                self.wfile.write(b".")
        except OSError:
            """The portal has had enough."""

    def log_message(self, *_: object) -> None:
        """Tests have enough to say."""


def started() -> SandboxApi:
    """One that answers until it is shut down, or this process ends."""
    running = SandboxApi()
    Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return running


@pytest.fixture
def api() -> Iterator[SandboxApi]:
    with started() as running:
        yield running
        running.stopped.set()
        running.shutdown()


def at(sandbox: Sandbox, address: str) -> Sandbox:
    """The sandbox, with its API at this address."""
    addresses = {**sandbox.addresses, "api:8080": address}
    Sandbox.objects.filter(pk=sandbox.pk).update(addresses=addresses)
    return reload(sandbox)
