"""The endpoint from which the process `streams` reads, for all of its connections at once.

The process has no access to the database and no rights of its own: each connection brings its
user's token, which is checked in each request.
"""

from __future__ import annotations

import json
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandboxes.accounts import api_tokens
from sandboxes.api import problems, throttling
from sandboxes.api.lookups import PUBLIC_ID
from sandboxes.lib import clock
from sandboxes.lib.exceptions import RateLimited, ValidationFailed
from sandboxes.models import ApiToken
from sandboxes.webhooks import stream
from sandboxes.webhooks.stream import Position, StreamEvent

MAX_CONNECTIONS = 1000
MAX_REPLAY_MINUTES = 24 * 60


class Connection(BaseModel):
    """One connection: its token, its filter, and how far it has read."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(max_length=200)
    after: str = Field(default="", max_length=200)
    """`cursor` of the previous answer; empty when the connection opens."""
    sandbox: str = Field(default="", max_length=30)
    """Only the events of this sandbox; empty for all."""
    replay_minutes: int = Field(default=0, ge=0, le=MAX_REPLAY_MINUTES)
    """Without `after`: begin with the events of the last minutes."""


class Connections(BaseModel):
    """All connections of a process."""

    model_config = ConfigDict(extra="forbid")

    connections: list[Connection] = Field(max_length=MAX_CONNECTIONS)


@csrf_exempt
@require_POST
def read_streams(request: HttpRequest) -> HttpResponse:
    """Return the new events of each connection, or the problem that ends it."""
    try:
        asked = Connections.model_validate_json(request.body).connections
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "body"
        return problems.validation_problem([(field, f"{first['msg']}.")])
    tokens = api_tokens.authenticate_all({one.token for one in asked})
    opened = [_open(request, one, tokens.get(one.token)) for one in asked]
    pages = _read({(place.token.user_id, place.after) for place in opened if place.token})
    answers = [place.answer(pages) for place in opened]
    return JsonResponse({"connections": answers}, headers={"Cache-Control": "no-store"})


Pages = dict[Position, tuple[list[StreamEvent], Position]]


class _Place:
    """A connection whose token was checked, or the problem with it."""

    def __init__(self, asked: Connection, token: ApiToken | None) -> None:
        self.asked = asked
        self.token = token
        self.after = Position()
        self.problem: HttpResponse | None = None

    def answer(self, pages: Pages) -> dict[str, Any]:
        """Return the part of the response for this connection."""
        if self.problem is not None or self.token is None:
            assert self.problem is not None
            return {
                "status": self.problem.status_code,
                "problem": json.loads(self.problem.content),
                "retry_after": self.problem.headers.get("Retry-After"),
            }
        events, position = pages[self.after]
        own = (event for event in events if event.owner_id == self.token.user_id)
        wanted = [one for one in own if self.asked.sandbox in ("", one.sandbox_id)]
        return {
            "status": HTTPStatus.OK,
            "user": self.token.user_id,
            "events": [_fields(event) for event in wanted],
            "after": self.after.cursor,
            "cursor": position.cursor,
        }


def _open(request: HttpRequest, asked: Connection, token: ApiToken | None) -> _Place:
    place = _Place(asked, token)
    refusal = _refusal(request, place)
    if refusal is not None:
        place.problem, place.token = refusal, None
    return place


def _refusal(request: HttpRequest, place: _Place) -> HttpResponse | None:
    """Set where a connection begins; return the problem if it may not read."""
    try:
        if place.token is None:
            throttling.invalid_tokens.count(request.META.get("REMOTE_ADDR", ""))
            return problems.invalid_token(request, problems.InvalidToken())
        if place.asked.after:
            place.after = Position.parse(place.asked.after)
            return None
        throttling.api_calls.count(str(place.token.user_id))
    except ValidationFailed as error:
        return problems.validation_problem(error.errors)
    except RateLimited as error:
        return problems.rate_limited(request, error)
    if place.asked.sandbox and not _owns(place.token, place.asked.sandbox):
        return problems.problem(
            HTTPStatus.NOT_FOUND, f"{place.asked.sandbox} not found, or not yours."
        )
    minutes = place.asked.replay_minutes
    since = clock.now() - timedelta(minutes=minutes)
    place.after = stream.position_at(since) if minutes else stream.present()
    return None


def _owns(token: ApiToken, sandbox_id: str) -> bool:
    return bool(
        PUBLIC_ID.fullmatch(sandbox_id)
        and token.user.sandboxes.filter(public_id=sandbox_id).exists()
    )


def _read(wanted: set[tuple[int, Position]]) -> Pages:
    """Read each position once; nearly all connections are at the same one."""
    positions = {position for _, position in wanted}
    return {
        each: stream.read({user for user, position in wanted if position == each}, each)
        for each in positions
    }


def _fields(event: StreamEvent) -> dict[str, str]:
    names = ("id", "type", "source", "sandbox_id", "body")
    return {name: getattr(event, name) for name in names} | {"cursor": event.seen.cursor}
