"""The requests to the API of a sandbox, as the sandbox recorded them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.http import Http404
from ninja import Field, P, QueryEx, Schema
from ninja.responses import Status

from sandboxes.api.auth import LAUNCH, READ, ApiRequest
from sandboxes.api.explorer.operations import router
from sandboxes.api.lookups import get_owned_sandbox
from sandboxes.api.openapi import responses
from sandboxes.api.pagination import Limit
from sandboxes.explorer import page_limit, request_log
from sandboxes.models import Sandbox

__all__ = ["router"]  # Shared with `operations`, which sends requests by the same path.

Cursor = QueryEx[str, P(description="`next_cursor` of the previous page.", max_length=500)]
Method = QueryEx[str, P(description="For example POST.", max_length=10)]
StatusOrClass = QueryEx[str, P(description="A status, or `4xx` for a class.", max_length=3)]
PathStart = QueryEx[str, P(description="The beginning of the path.", max_length=200)]
Text = QueryEx[str, P(description="A text in the path or the bodies.", max_length=200)]


class LoggedRequest(Schema):
    id: str = Field(examples=["log_000000042"])
    at: datetime
    method: str
    path: str = Field(description="With its query.", examples=["/v1/orders?status=open"])
    status: int
    milliseconds: float
    request_id: str
    request_body: str = Field(description="Cut if it is long; secrets are replaced.")
    response_body: str = Field(description="Cut if it is long; secrets are replaced.")
    replayable: bool = Field(description="Whether the portal can send the request again.")


class RequestPage(Schema):
    data: list[LoggedRequest]
    next_cursor: str | None


class RepeatedResponse(Schema):
    """What the API answered when the request was sent again."""

    status: int
    milliseconds: float
    body: str = Field(description="At most 1 MB.")


def _logged(found: request_log.LoggedRequest) -> LoggedRequest:
    return LoggedRequest(**asdict(found))


def _get(sandbox: Sandbox, log_id: str) -> request_log.LoggedRequest:
    """Return a request of the log. Raises Http404."""
    found = request_log.get(sandbox, log_id)
    if found is None:
        raise Http404
    return found


@router.get(
    "/sandboxes/{sandbox_id}/requests",
    auth=READ,
    response=responses(200, RequestPage, 404, 409, 422),
)
def list_requests(
    request: ApiRequest,
    sandbox_id: str,
    *,
    method: Method = "",
    status: StatusOrClass = "",
    path: PathStart = "",
    text: Text = "",
    cursor: Cursor = "",
    limit: Limit = 50,
) -> RequestPage:
    """List the requests to a running sandbox's API, newest first. Reading isn't activity."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    filters = {"method": method, "status": status, "path": path, "text": text}
    with page_limit.slot(sandbox.owner_id):
        page = request_log.find(sandbox, filters, cursor, limit)
    return RequestPage(
        data=[_logged(found) for found in page.requests], next_cursor=page.next_cursor or None
    )


@router.get(
    "/sandboxes/{sandbox_id}/requests/{log_id}",
    auth=READ,
    response=responses(200, LoggedRequest, 404, 409),
)
def get_request(request: ApiRequest, sandbox_id: str, log_id: str) -> LoggedRequest:
    """Return a request to a running sandbox's API."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    with page_limit.slot(sandbox.owner_id):
        return _logged(_get(sandbox, log_id))


@router.post(
    "/sandboxes/{sandbox_id}/requests/{log_id}/repeat",
    auth=LAUNCH,
    response=responses(200, RepeatedResponse, 404, 409, 422),
)
def repeat_request(request: ApiRequest, sandbox_id: str, log_id: str) -> Status[Any]:
    """Send a request of the log again, with the sandbox's key, and return the response."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    with page_limit.slot(sandbox.owner_id):
        _, response = request_log.repeat(sandbox, _get(sandbox, log_id))
    return Status(
        200,
        RepeatedResponse(
            status=response.status,
            milliseconds=round(response.seconds * 1000, 1),
            body=response.body.decode(errors="replace"),
        ),
    )
