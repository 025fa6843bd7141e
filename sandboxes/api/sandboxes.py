"""Read, extend, touch, reset and destroy sandboxes."""

from __future__ import annotations

from typing import Literal

from django.db import transaction
from django.db.models import prefetch_related_objects
from django.http import HttpResponse
from ninja import P, QueryEx
from ninja.responses import Status

from sandboxes import actions, models
from sandboxes.api import request_schemas
from sandboxes.api.auth import ALL, LAUNCH, READ, ApiRequest
from sandboxes.api.lookups import get_owned_sandbox
from sandboxes.api.openapi import responses
from sandboxes.api.pagination import Cursor, Limit, set_next_link
from sandboxes.api.routing import StrictRouter, map_parameter, read_map
from sandboxes.core.launch_eta import EtaCalculator
from sandboxes.lib.pagination import paginate_newest_first
from sandboxes.representations import schemas, serializers
from sandboxes.representations.connections import connections

router = StrictRouter(tags=["Sandboxes"])

View = QueryEx[
    Literal["full", "summary"],
    P(description="`summary` leaves out what a list doesn't need, and is faster."),
]
StateFilter = QueryEx[
    list[models.State] | None, P(description="Filter by state; repeat for several.")
]


METADATA_FILTER = map_parameter(
    "metadata",
    "Filter by metadata: `metadata[job]=4711`; repeat with other keys to combine.",
    {"type": "string"},
)


@router.get(
    "/sandboxes",
    auth=READ,
    response=responses(200, schemas.SandboxSummaryPage | schemas.SandboxPage, 422),
    openapi_extra=METADATA_FILTER,
)
def list_sandboxes(
    request: ApiRequest,
    response: HttpResponse,
    state: StateFilter = None,
    limit: Limit = 50,
    cursor: Cursor = "",
    view: View = "full",
) -> schemas.SandboxPage | schemas.SandboxSummaryPage:
    """List your sandboxes, newest first, including those that have ended."""
    rows = request.auth.sandboxes.all()
    if state:
        rows = rows.filter(state__in=state)
    if metadata := read_map(request, "metadata"):
        rows = rows.with_metadata(actions.validate_metadata(metadata))
    if view == "summary":
        rows = rows.only(*serializers.SUMMARY_COLUMNS)
    page, following = paginate_newest_first(rows, "created_at", limit, cursor, "sandboxes")
    set_next_link(request, response, following)
    if view == "summary":
        return schemas.SandboxSummaryPage(
            data=[serializers.summary(row) for row in page],
            has_more=following is not None,
            next_cursor=following,
        )
    prefetch_related_objects(page, "extensions")
    estimator = EtaCalculator()
    return schemas.SandboxPage(
        data=[serializers.sandbox(row, estimator) for row in page],
        has_more=following is not None,
        next_cursor=following,
    )


@router.get("/sandboxes/{sandbox_id}", auth=READ, response=responses(200, schemas.Sandbox, 404))
def get_sandbox(request: ApiRequest, sandbox_id: str) -> schemas.Sandbox:
    """Return the state, deadlines and endpoints of a sandbox."""
    return serializers.sandbox(get_owned_sandbox(request, sandbox_id))


@router.patch(
    "/sandboxes/{sandbox_id}",
    auth=LAUNCH,
    response=responses(200, schemas.Sandbox, 400, 404, 413, 422),
    summary="Update Sandbox",
)
def rename_sandbox(
    request: ApiRequest, sandbox_id: str, body: request_schemas.SandboxChanges
) -> schemas.Sandbox:
    """Change the name or the metadata of a sandbox, also of one that has ended."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    with transaction.atomic():
        if body.name is not None:
            actions.rename(sandbox, body.name, request.auth)
        if body.metadata:
            actions.change_metadata(sandbox, body.metadata)
    return serializers.sandbox(sandbox)


@router.delete(
    "/sandboxes/{sandbox_id}",
    auth=LAUNCH,
    response={200: schemas.Sandbox} | responses(202, schemas.Sandbox, 404),
)
def destroy_sandbox(request: ApiRequest, sandbox_id: str) -> Status[schemas.Sandbox]:
    """Destroy a sandbox and its data. 202: being removed; 200: already gone."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    is_gone = sandbox.has_ended
    actions.destroy(sandbox, request.auth)
    return Status(200 if is_gone else 202, serializers.sandbox(sandbox))


@router.get(
    "/sandboxes/{sandbox_id}/credentials",
    auth=ALL,
    response=responses(200, schemas.Credentials, 404, 409),
)
def read_credentials(
    request: ApiRequest, response: HttpResponse, sandbox_id: str
) -> schemas.Credentials:
    """Return the credentials of a running sandbox. This is recorded in its activity log."""
    response["Cache-Control"] = "no-store"
    return schemas.Credentials(
        **actions.read_credentials(get_owned_sandbox(request, sandbox_id), request.auth)
    )


@router.post(
    "/sandboxes/{sandbox_id}/extensions",
    auth=LAUNCH,
    response=responses(201, schemas.ExtensionGranted, 400, 404, 409, 413, 422),
)
def extend_sandbox(
    request: ApiRequest, sandbox_id: str, body: request_schemas.Extend
) -> Status[schemas.ExtensionGranted]:
    """Extend the lifetime, once and never past `hard_cap_at`. Also resets the idle timer."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    granted = actions.extend(sandbox, body.minutes, request.auth)
    granted.sandbox = sandbox
    return Status(201, serializers.extension(granted))


@router.post(
    "/sandboxes/{sandbox_id}/touch", auth=LAUNCH, response=responses(200, schemas.Sandbox, 404, 409)
)
def touch_sandbox(request: ApiRequest, sandbox_id: str) -> schemas.Sandbox:
    """Reset the idle timer."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    actions.touch(sandbox, request.auth)
    return serializers.sandbox(sandbox)


@router.post(
    "/sandboxes/{sandbox_id}/heartbeat",
    auth=LAUNCH,
    response=responses(200, schemas.Heartbeat, 404, 409),
)
def send_heartbeat(request: ApiRequest, sandbox_id: str) -> schemas.Heartbeat:
    """Keep a sandbox that was launched with `heartbeat_seconds`. The idle timer goes on."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    actions.record_heartbeat(sandbox)
    assert sandbox.heartbeat_expires_at
    return schemas.Heartbeat(
        state=models.State(sandbox.state), heartbeat_expires_at=sandbox.heartbeat_expires_at
    )


@router.get(
    "/sandboxes/{sandbox_id}/connections",
    auth=ALL,
    response=responses(200, schemas.Connections, 404, 409),
)
def read_connections(
    request: ApiRequest, response: HttpResponse, sandbox_id: str
) -> schemas.Connections:
    """Return how to use a running sandbox, credentials included. This is recorded."""
    response["Cache-Control"] = "no-store"
    sandbox = get_owned_sandbox(request, sandbox_id)
    credentials = actions.read_credentials(sandbox, request.auth)
    return connections(sandbox, credentials)


@router.post(
    "/sandboxes/{sandbox_id}/reset", auth=LAUNCH, response=responses(202, schemas.Sandbox, 404, 409)
)
def reset_sandbox(request: ApiRequest, sandbox_id: str) -> Status[schemas.Sandbox]:
    """Reset the data to the seed. Complete when `reset_pending` is false again."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    actions.reset(sandbox, request.auth)
    return Status(202, serializers.sandbox(sandbox))
