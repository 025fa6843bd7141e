"""Requests of the portal to a sandbox that offers events (`x-sandbox.events`).

What a sandbox sends is never trusted: it is read up to a limit, and what doesn't fit is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from sandboxes import explorer
from sandboxes.blueprints.blueprint import EventSource
from sandboxes.explorer.json_responses import aware_time, json_object, refusal
from sandboxes.lib import untrusted_json
from sandboxes.lib.exceptions import Unavailable
from sandboxes.lib.http.client import Response
from sandboxes.lib.http.tcp_traffic import Traffic

WAIT_SECONDS = 20
"""How long a sandbox may hold the response until there is an event."""
TIMEOUT_SECONDS = 5.0
PAGE_SIZE = 50
MAX_TYPE_LENGTH = MAX_ID_LENGTH = 100
MAX_URL_LENGTH = 500
MAX_PATTERNS = 50
MAX_ENDPOINTS = 20

OnTraffic = Callable[[Traffic], object]


@dataclass(frozen=True)
class ReadEvent:
    """An event as the sandbox describes it."""

    id: str
    type: str
    body: str
    """The message to deliver: `type`, `timestamp`, `data`, and the other fields of the event."""


@dataclass(frozen=True)
class ReadEndpoint:
    """A webhook endpoint as the sandbox describes it."""

    id: str
    url: str
    event_types: list[str]
    secret: str
    previous_secret: str = ""
    previous_secret_until: datetime | None = None
    """Until then, messages are signed with the previous secret, too."""


@dataclass(frozen=True)
class Page:
    """Events that follow a cursor, with the endpoints that there are."""

    events: list[ReadEvent] = field(default_factory=list)
    endpoints: list[ReadEndpoint] = field(default_factory=list)
    is_unknown_cursor: bool = False
    """Whether the sandbox doesn't know the cursor, because its data was restored."""


def read(
    source: EventSource,
    access: explorer.PortalAccess,
    cursor: str,
    wait: int,
    on_traffic: OnTraffic,
) -> Page:
    """Return the events after a cursor, and the endpoints if there are events.

    Raises Unavailable.
    """
    values = {"cursor": quote(cursor or source.first, safe=""), "limit": PAGE_SIZE, "wait": wait}
    target = source.list
    for name, value in values.items():
        target = target.replace(f"{{{name}}}", str(value))
    response = _get(access, target, wait + TIMEOUT_SECONDS, on_traffic)
    if response.status == HTTPStatus.UNPROCESSABLE_ENTITY and cursor:
        return Page(is_unknown_cursor=True)
    events = [event for item in _rows(response) if (event := _event(item))]
    if not events or not source.endpoints:
        return Page(events)
    found = _rows(_get(access, source.endpoints, TIMEOUT_SECONDS, on_traffic, verified=True))
    endpoints = [endpoint for item in found if (endpoint := _endpoint(item))]
    return Page(events, endpoints[:MAX_ENDPOINTS])


def post(
    access: explorer.PortalAccess, path: str, body: dict[str, Any], on_traffic: OnTraffic
) -> dict[str, Any]:
    """Send a JSON object, and return the one that the sandbox answers.

    Raises ValidationFailed with what the sandbox says, and Unavailable.
    """
    request = explorer.ApiRequest("POST", path, json.dumps(body).encode(), automatic=True)
    response = explorer.send_as_portal(access, request, TIMEOUT_SECONDS, on_traffic)
    answer = json_object(response.body)
    if response.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        raise refusal(answer, [*body])
    if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
        raise Unavailable(f"The sandbox returned {response.status}.")
    return answer


def _get(
    access: explorer.PortalAccess,
    target: str,
    seconds: float,
    on_traffic: OnTraffic,
    *,
    verified: bool = False,
) -> Response:
    request = explorer.ApiRequest("GET", target, automatic=True)
    return explorer.send_as_portal(access, request, seconds, on_traffic, verified=verified)


def _rows(response: Response) -> list[dict[str, Any]]:
    """Return the objects of a list `{"data": […]}`. Raises Unavailable."""
    if response.status != HTTPStatus.OK or not response.complete:
        problem = response.status if response.complete else "too much"
        raise Unavailable(f"The sandbox returned {problem} for its events.")
    try:
        answer = untrusted_json.loads(response.body)
    except ValueError as error:
        raise Unavailable(f"The sandbox's events are invalid: {error}") from None
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise Unavailable("The sandbox's events are invalid: `data` isn't a list.")
    return [row for row in rows if isinstance(row, dict)]


def _event(item: dict[str, Any]) -> ReadEvent | None:
    event_id, kind = _text(item, "id", MAX_ID_LENGTH), _text(item, "type", MAX_TYPE_LENGTH)
    if not event_id or not kind:
        return None
    message = {"type": kind, "timestamp": item.get("created_at"), "data": item.get("data")}
    rest = {name: value for name, value in item.items() if name != "created_at"}
    body = json.dumps(message | rest, separators=(",", ":"), ensure_ascii=False)
    return ReadEvent(event_id, kind, body)


def _endpoint(item: dict[str, Any]) -> ReadEndpoint | None:
    endpoint_id, url = _text(item, "id", MAX_ID_LENGTH), _text(item, "url", MAX_URL_LENGTH)
    secret, patterns = _text(item, "secret", MAX_ID_LENGTH), item.get("event_types")
    if not endpoint_id or not url or not secret or not isinstance(patterns, list):
        return None
    texts = [one for one in patterns[:MAX_PATTERNS] if isinstance(one, str)]
    return ReadEndpoint(
        endpoint_id,
        url,
        [one for one in texts if len(one) <= MAX_TYPE_LENGTH],
        secret,
        _text(item, "previous_secret", MAX_ID_LENGTH),
        aware_time(item.get("previous_secret_until")),
    )


def _text(item: dict[str, Any], name: str, max_length: int) -> str:
    """Return a text that the database can store; empty if it is none, or too long."""
    value = item.get(name)
    usable = isinstance(value, str) and len(value) <= max_length and "\0" not in value
    return str(value) if usable else ""


def receiver_url(site_url: str, public_id: str) -> str:
    """Return the URL of the built-in receiver of a sandbox, to which nothing is sent."""
    return f"{site_url.rstrip('/')}/inbox/{public_id}"


def is_receiver(url: str, public_id: str) -> bool:
    """Return whether a URL is the built-in receiver of a sandbox."""
    return urlsplit(url).path.rstrip("/") == f"/inbox/{public_id}"
