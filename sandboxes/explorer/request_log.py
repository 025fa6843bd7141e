"""The request log of a sandbox (`x-sandbox.requests.log`): read it, and repeat a request.

What a sandbox sends is never trusted: texts are cut, and entries that don't fit are left out.
Reading doesn't count as activity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from sandboxes import blueprints
from sandboxes.blueprints.blueprint import RequestLog
from sandboxes.explorer.client import (
    METHODS,
    TIMEOUT_SECONDS,
    ApiRequest,
    ApiResponse,
    portal_access,
    send,
    send_as_portal,
)
from sandboxes.explorer.json_responses import aware_time, json_object, refusal
from sandboxes.lib.exceptions import StateConflict, Unavailable
from sandboxes.lib.http.client import Response
from sandboxes.lib.http.tcp_traffic import Traffic
from sandboxes.models import Sandbox, State

FILTERS = ("method", "status", "path", "text")
MAX_FILTER_LENGTH = 200
MAX_TEXT_LENGTH = 10_000
MAX_CURSOR_LENGTH = 500
PAGE_SIZE = 30
ID = re.compile(r"[\w.:-]{1,100}", re.ASCII)


@dataclass(frozen=True)
class LoggedRequest:
    """A request to the API of a sandbox, as the sandbox recorded it."""

    id: str
    at: datetime
    method: str
    path: str
    status: int
    milliseconds: float
    request_id: str
    request_body: str
    response_body: str
    replayable: bool
    """Whether path and body are complete, and the method is one that the portal sends."""

    @property
    def succeeded(self) -> bool:
        return self.status < HTTPStatus.BAD_REQUEST


@dataclass(frozen=True)
class Page:
    """Requests, newest first, and the cursor of the next page; empty if this is the last."""

    requests: list[LoggedRequest]
    next_cursor: str


def has_request_log(sandbox: Sandbox) -> bool:
    """Return whether the blueprint of a sandbox describes a request log."""
    blueprint = blueprints.find_for_sandbox(sandbox)
    return bool(blueprint and blueprint.request_log)


def find(
    sandbox: Sandbox, filters: Mapping[str, str], cursor: str = "", limit: int = PAGE_SIZE
) -> Page:
    """Return a page of the requests that match all filters.

    Raises StateConflict, ValidationFailed with what the sandbox says, Unavailable.
    """
    query = {"limit": str(limit), "cursor": cursor[:MAX_CURSOR_LENGTH]}
    query |= {name: filters.get(name, "")[:MAX_FILTER_LENGTH] for name in FILTERS}
    response = _read(sandbox, "?" + urlencode({name: one for name, one in query.items() if one}))
    answer = json_object(response.body)
    if response.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        raise refusal(answer, [*FILTERS, "cursor"])
    if response.status != HTTPStatus.OK:
        raise Unavailable(f"The sandbox returned {response.status} for its requests.")
    rows, following = answer.get("data"), answer.get("next_cursor")
    found = [_parse(row) for row in rows[:limit]] if isinstance(rows, list) else []
    is_cursor = isinstance(following, str) and len(following) <= MAX_CURSOR_LENGTH
    return Page([row for row in found if row], str(following) if is_cursor else "")


def get(sandbox: Sandbox, log_id: str) -> LoggedRequest | None:
    """Return a request by its id, or None. Raises StateConflict, Unavailable."""
    if not ID.fullmatch(log_id):
        return None
    response = _read(sandbox, f"/{log_id}")
    if response.status == HTTPStatus.NOT_FOUND:
        return None
    found = _parse(json_object(response.body)) if response.status == HTTPStatus.OK else None
    if found is None:
        raise Unavailable(f"The sandbox returned {response.status} for its requests.")
    return found


def repeat(sandbox: Sandbox, logged: LoggedRequest) -> tuple[ApiRequest, ApiResponse]:
    """Send a request again, with the sandbox's key; it is the owner's, so it is activity.

    Raises StateConflict, ValidationFailed, Unavailable.
    """
    if not logged.replayable:
        raise StateConflict("This request can't be sent again, because the log has only a part.")
    request = ApiRequest(logged.method, logged.path, logged.request_body.encode())
    return request, send(sandbox, request, _described(sandbox).endpoint)


def _described(sandbox: Sandbox) -> RequestLog:
    blueprint = blueprints.find_for_sandbox(sandbox)
    if blueprint is None or blueprint.request_log is None:
        raise StateConflict("The blueprint of this sandbox doesn't describe a request log.")
    return blueprint.request_log


def _read(sandbox: Sandbox, rest: str) -> Response:
    described = _described(sandbox)
    if sandbox.state != State.RUNNING:
        raise StateConflict(f"Only a running sandbox responds; this one is {sandbox.state}.")
    access = portal_access(sandbox, described.endpoint, described.secret)
    traffic = [Traffic()]
    request = ApiRequest("GET", described.path + rest, automatic=True)
    try:
        return send_as_portal(access, request, TIMEOUT_SECONDS, traffic.append)
    finally:
        total = sum(traffic, Traffic())
        rows = Sandbox.objects.filter(pk=sandbox.pk)
        rows.add_portal_traffic(received=total.sent, sent=total.received)


def _parse(row: Any) -> LoggedRequest | None:
    if not isinstance(row, dict):
        return None
    log_id, at = row.get("id"), aware_time(row.get("created_at"))
    status, milliseconds = row.get("status"), row.get("duration_ms")
    if at is None or not isinstance(status, int) or not isinstance(log_id, str):
        return None
    if not ID.fullmatch(log_id):
        return None
    names = ("method", "path", "request_id", "request_body", "response_body")
    texts = {name: str(row.get(name) or "").replace("\0", "") for name in names}
    complete = all(len(text) <= MAX_TEXT_LENGTH for text in texts.values())
    return LoggedRequest(
        id=log_id,
        at=at,
        status=status,
        milliseconds=milliseconds if isinstance(milliseconds, int | float) else 0,
        replayable=complete and row.get("replayable") is True and texts["method"] in METHODS,
        **{name: text[:MAX_TEXT_LENGTH] for name, text in texts.items()},
    )
