"""The journal, logs and resource usage of a sandbox."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import P, QueryEx

from sandboxes import models
from sandboxes.actions import logs
from sandboxes.api.auth import READ, ApiRequest
from sandboxes.api.lookups import get_owned_sandbox
from sandboxes.api.openapi import responses
from sandboxes.api.pagination import Cursor, Limit, set_next_link
from sandboxes.api.routing import StrictRouter
from sandboxes.lib.pagination import decode_cursor, paginate
from sandboxes.representations import display, schemas, serializers

router = StrictRouter(tags=["Observability"])

Service = QueryEx[
    str, P(description="A service of the blueprint; required unless the sandbox has ended.")
]
MaxLines = QueryEx[int, P(ge=1, le=1000, description="Maximum number of lines.")]
MaxSamples = QueryEx[int, P(ge=1, le=1000, description="Maximum number of samples.")]


@router.get(
    "/sandboxes/{sandbox_id}/events",
    auth=READ,
    response=responses(200, schemas.EventPage, 404, 422),
)
def list_events(
    request: ApiRequest,
    response: HttpResponse,
    sandbox_id: str,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> schemas.EventPage:
    """List the activity of a sandbox, oldest event first."""
    rows = get_owned_sandbox(request, sandbox_id).events.order_by("pk")
    if cursor:
        rows = rows.filter(pk__gt=decode_cursor(cursor, "events")[0])
    page, following = paginate(rows, limit, "events", lambda event: (event.pk,))
    set_next_link(request, response, following)
    return schemas.EventPage(
        data=[serializers.event(row) for row in page],
        has_more=following is not None,
        next_cursor=following,
    )


@router.get(
    "/sandboxes/{sandbox_id}/logs", auth=READ, response=responses(200, schemas.Log, 404, 409, 422)
)
def read_log(
    request: ApiRequest,
    sandbox_id: str,
    service: Service = "",
    tail: MaxLines = 100,
) -> schemas.Log:
    """Return the last log lines of a service, or those kept from an ended sandbox."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    if sandbox.state in (models.State.DESTROYING, *models.TERMINAL_STATES):
        return schemas.Log(service=None, live=False, text=display.final_logs(sandbox))
    return schemas.Log(service=service, live=True, text=logs.read_log(sandbox, service, tail))


@router.get(
    "/sandboxes/{sandbox_id}/usage", auth=READ, response=responses(200, schemas.Usage, 404, 422)
)
def read_usage(
    request: ApiRequest,
    sandbox_id: str,
    limit: MaxSamples = 240,
) -> schemas.Usage:
    """Return memory, CPU, disk, network and requests, sampled about once a minute."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    # One more than requested: rates are computed from the difference to the previous sample.
    newest = list(sandbox.samples.order_by("-pk")[: limit + 1])
    samples = serializers.samples(sandbox, newest[::-1])[-limit:]
    now = samples[-1] if samples else None
    return schemas.Usage(now=now, samples=samples, limits=serializers.size(sandbox))
