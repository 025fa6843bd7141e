"""Requests to a sandbox's own API, through the portal and with the sandbox's key."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from django.conf import settings
from ninja import Field, P, QueryEx, Schema
from ninja.errors import HttpError

from sandboxes import actions, explorer
from sandboxes.api.auth import LAUNCH, READ, ApiRequest
from sandboxes.api.lookups import get_owned_sandbox
from sandboxes.api.openapi import responses
from sandboxes.api.request_schemas import RequestBody
from sandboxes.api.routing import StrictRouter
from sandboxes.explorer.openapi import Operation, Parameter
from sandboxes.lib.exceptions import ValidationFailed

router = StrictRouter(tags=["APIs of sandboxes"])

MAX_BODY_LENGTH = 200_000
"""Characters of a response that are returned."""

OperationId = QueryEx[str, P(description="Only this operation, with its details.", max_length=200)]


class OperationParameter(Schema):
    name: str
    location: str = Field(description="`path`, `query` or `header`.")
    required: bool
    type: str
    description: str
    example: str
    choices: list[str]


class OperationDetails(Schema):
    description: str
    parameters: list[OperationParameter]
    example_body: str | None = Field(description="JSON. Null if the operation takes no body.")


class SandboxOperation(Schema):
    id: str
    method: str
    path: str
    summary: str
    group: str
    is_list: bool = Field(description="Whether it lists the rows of a table.")
    details: OperationDetails | None = Field(description="Null in the list of all operations.")


class SandboxOperations(Schema):
    title: str
    data: list[SandboxOperation]


class NewRequest(RequestBody):
    """A request to the API of a sandbox."""

    method: str = Field(examples=["GET"])
    path: str = Field(
        description="A path below the API's URL, with an optional query.",
        examples=["/orders?status=open"],
    )
    # Not `default`: generators of TypeScript clients make such a property a required one.
    body: str = Field(default_factory=str, description="JSON; empty for none.")
    headers: dict[str, str] | None = Field(
        default=None, description="Additional headers. Authentication is added by the portal."
    )


class SandboxResponse(Schema):
    status: int
    headers: dict[str, str]
    body: str
    complete: bool = Field(description="Whether `body` is the whole response.")
    seconds: float


class AgentCall(RequestBody):
    """A call that an agent is about to make."""

    agent: str = Field(description="Name of the program.", examples=["claude-code 2.1"])
    tool: str = Field(examples=["call_api"])
    summary: str = Field(
        default_factory=str,
        description="What it does, without secrets.",
        examples=["POST /orders/ord_001/cancel"],
    )


class Recorded(Schema):
    recorded: bool


def _parameter(one: Parameter) -> OperationParameter:
    return OperationParameter(
        name=one.name,
        location=one.location,
        required=one.required,
        type=one.kind,
        description=one.description,
        example=one.example,
        choices=list(one.choices),
    )


def _operation(one: Operation, group: str, *, with_details: bool) -> SandboxOperation:
    details = None
    if with_details:
        body = json.dumps(one.body.example) if one.body else None
        parameters = [_parameter(each) for each in one.parameters]
        details = OperationDetails(
            description=one.description, parameters=parameters, example_body=body
        )
    return SandboxOperation(
        id=one.id,
        method=one.method,
        path=one.path,
        summary=one.summary,
        group=group,
        is_list=one.is_list,
        details=details,
    )


@router.get(
    "/sandboxes/{sandbox_id}/operations",
    auth=READ,
    response=responses(200, SandboxOperations, 404, 409, 422),
)
def list_operations(
    request: ApiRequest, sandbox_id: str, operation: OperationId = ""
) -> SandboxOperations:
    """List the operations of a running sandbox's API, by its OpenAPI document."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    with explorer.page_limit.slot(sandbox.owner_id):
        description = explorer.fetch_openapi(sandbox)
        found = [
            _operation(one, group.name, with_details=bool(operation))
            for group in description.groups
            for one in group.operations
            if operation in ("", one.id)
        ]
    if operation and not found:
        raise ValidationFailed("operation", "The sandbox's API has no operation with this id.")
    return SandboxOperations(title=description.title, data=found)


@router.post(
    "/sandboxes/{sandbox_id}/requests",
    auth=LAUNCH,
    response=responses(200, SandboxResponse, 400, 404, 409, 413, 422),
)
def send_request(request: ApiRequest, sandbox_id: str, body: NewRequest) -> SandboxResponse:
    """Send a request to a running sandbox's API with the sandbox's key, and return its response."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    headers = list((body.headers or {}).items())
    asked = explorer.ApiRequest(body.method, body.path, body.body.encode(), headers)
    with explorer.page_limit.slot(sandbox.owner_id):
        response = explorer.send(sandbox, asked)
        text = response.body.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return SandboxResponse(
        status=response.status,
        headers=dict(response.headers),
        body=text[:MAX_BODY_LENGTH],
        complete=response.complete and len(text) <= MAX_BODY_LENGTH,
        seconds=round(response.seconds, 3),
    )


@router.post(
    "/sandboxes/{sandbox_id}/agent-calls",
    auth=READ,
    response=responses(200, Recorded, 400, 403, 404, 413, 422),
)
def record_agent_call(request: ApiRequest, sandbox_id: str, body: AgentCall) -> dict[str, Any]:
    """Record in the activity log that an agent is about to use a sandbox."""
    if not settings.MCP_ENABLED:
        raise HttpError(HTTPStatus.FORBIDDEN, "The operators of this portal don't allow agents.")
    sandbox = get_owned_sandbox(request, sandbox_id)
    actions.record_agent_call(sandbox, body.agent, body.tool, body.summary, request.auth)
    return {"recorded": True}
