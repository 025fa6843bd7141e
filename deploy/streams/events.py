"""Event streams: one request to the portal, several times a second, serves all connections.

A connection costs no thread, and the portal one query for all connections that are up to date.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from streams.portal import Portal, PortalAway, bearer, forwarded
from streams.problems import problem

log = logging.getLogger(__name__)

READ_SECONDS = 0.15
"""Between two reads while there are connections."""
AWAY_SECONDS = 1.0
"""Between reads while the portal doesn't answer."""
PING_SECONDS = 15
"""After this time without an event, a connection gets its position."""
MAX_REPLAY_MINUTES = 24 * 60
MAX_CONNECTIONS = 500
MAX_PER_USER = 10
MAX_WAITING = 1000
"""Events that wait for a slow client; then its connection ends, and it continues with a new one."""
RETRY_AFTER_SECONDS = 10


@dataclass(eq=False)
class Connection:
    """A client that listens."""

    token: str
    sandbox: str
    user: int = 0
    cursor: str = ""
    queue: asyncio.Queue[ServerSentEvent | None] = field(default_factory=asyncio.Queue)
    """Messages to send; None ends the connection."""
    _recent: set[str] = field(default_factory=set)
    """Events of the last read, which the next one may return again."""

    def take(self, answer: Mapping[str, Any]) -> None:
        """Take the answer of the portal for this connection."""
        if answer["status"] != HTTPStatus.OK:
            self.queue.put_nowait(_sse(event="problem", data=json.dumps(answer["problem"])))
            self.queue.put_nowait(None)
            return
        for event in answer["events"]:
            if event["id"] not in self._recent:
                cursor = event.pop("cursor")
                self.queue.put_nowait(_sse(event="event", id=cursor, data=json.dumps(event)))
        self.cursor = answer["cursor"]
        self._recent = {one["id"] for one in answer["events"]}


def _sse(**fields: Any) -> ServerSentEvent:
    return ServerSentEvent(**fields, sep="\n")


class Hub:
    """All connections, and the task that reads for them."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._connections: set[Connection] = set()
        self._wanted = asyncio.Event()
        """Set while there are connections."""

    @property
    def size(self) -> int:
        """The number of connections."""
        return len(self._connections)

    async def run(self) -> None:
        """Read for all connections until this task is canceled."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(await self._read())

    async def _read(self) -> float:
        """Read once; return the seconds until the next time."""
        connections = list(self._connections)
        asked = [
            {"token": one.token, "after": one.cursor, "sandbox": one.sandbox} for one in connections
        ]
        try:
            answers = await self.ask(asked)
        except PortalAway as error:
            log.info("The portal wasn't read: %s", error)
            return AWAY_SECONDS
        for connection, answer in zip(connections, answers, strict=True):
            connection.take(answer)
            if connection.queue.qsize() > MAX_WAITING:
                connection.queue = asyncio.Queue()
                connection.queue.put_nowait(None)
        return READ_SECONDS

    async def ask(
        self, connections: list[dict[str, Any]], headers: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """Return the portal's answers for connections. Raises PortalAway."""
        response = await self._portal.send(
            "POST", "/streams/read", body={"connections": connections}, headers=headers
        )
        if response.status_code != HTTPStatus.OK:
            raise PortalAway(f"The portal returned {response.status_code}. Try again shortly.")
        return list(response.json()["connections"])

    def add(self, connection: Connection) -> None:
        """Read for a connection from now on."""
        self._connections.add(connection)
        self._wanted.set()

    def remove(self, connection: Connection) -> None:
        """Stop reading for a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._wanted.clear()

    def refusal(self, user: int) -> str:
        """Return why a user can't open another connection; empty if they can."""
        if self.size >= MAX_CONNECTIONS:
            return "Too many event streams are open on this portal. Try again shortly."
        if Counter(one.user for one in self._connections)[user] >= MAX_PER_USER:
            return f"You have {MAX_PER_USER} open event streams, the limit. Close one."
        return ""


async def stream(request: Request) -> Response:
    """Send the events of the token's user as server-sent events, beginning after `Last-Event-ID`.

    Query parameters: `sandbox` (an ID) and `replay` (minutes of the past to begin with).
    """
    hub: Hub = request.state.hub
    connection = Connection(bearer(request.headers), request.query_params.get("sandbox", ""))
    replay = request.query_params.get("replay", "0")
    if not re.fullmatch("[0-9]{1,4}", replay) or int(replay) > MAX_REPLAY_MINUTES:
        return problem(422, f"replay: Must be an integer from 0 to {MAX_REPLAY_MINUTES} (minutes).")
    asked = {
        "token": connection.token,
        "after": request.headers.get("last-event-id", ""),
        "sandbox": connection.sandbox,
        "replay_minutes": int(replay),
    }
    try:
        [answer] = await hub.ask([asked], forwarded(request.headers))
    except PortalAway as error:
        return problem(503, str(error), retry_after=RETRY_AFTER_SECONDS)
    if answer["status"] != HTTPStatus.OK:
        retry_after = answer["retry_after"]
        return problem(answer["status"], retry_after=retry_after, body=answer["problem"])
    connection.user = answer["user"]
    if reason := hub.refusal(connection.user):
        return problem(429, reason, retry_after=RETRY_AFTER_SECONDS)
    connection.cursor = answer["after"]
    # Tells the client its position before the first event.
    connection.queue.put_nowait(_sse(event="ready", id=connection.cursor, data="{}"))
    connection.take(answer)
    return EventSourceResponse(
        _events(hub, connection), ping=0, headers={"X-Accel-Buffering": "no"}, sep="\n"
    )


async def _events(hub: Hub, connection: Connection) -> AsyncIterator[ServerSentEvent]:
    hub.add(connection)
    try:
        while True:
            item: ServerSentEvent | None = _sse(event="ping", id=connection.cursor, data="{}")
            with suppress(TimeoutError):
                item = await asyncio.wait_for(connection.queue.get(), PING_SECONDS)
            if item is None:
                return
            yield item
    finally:
        hub.remove(connection)
