"""Events of a sandbox and their deliveries, its webhook endpoints, and its clock."""

from __future__ import annotations

import json
import time

from django.http import Http404
from django.shortcuts import get_object_or_404
from ninja import P, QueryEx
from ninja.responses import Status

from sandboxes import actions, models
from sandboxes.api.auth import LAUNCH, READ, ApiRequest
from sandboxes.api.lookups import get_owned_sandbox
from sandboxes.api.openapi import responses
from sandboxes.api.pagination import Limit
from sandboxes.api.routing import StrictRouter
from sandboxes.api.webhooks import inbox_schemas as schemas
from sandboxes.explorer import sandbox_clock
from sandboxes.lib.concurrency import ConcurrencyLimit
from sandboxes.lib.exceptions import Unavailable, ValidationFailed
from sandboxes.lib.pagination import decode_cursor, encode_cursor
from sandboxes.webhooks.inbox import inbox
from sandboxes.webhooks.inbox.misbehavior import Misbehavior

router = StrictRouter(tags=["Events of sandboxes"])

POLL_SECONDS = 0.1
concurrent_waits = ConcurrencyLimit.share_of_web_threads(1 / 8, per_user=2)

After = QueryEx[
    str, P(description="`cursor` of the previous response; empty begins with the oldest event.")
]
Wait = QueryEx[int, P(ge=0, le=25, description="Seconds to wait for an event if there is none.")]
TypeFilter = QueryEx[str, P(description="Only events of this type.", max_length=100)]


def _event(row: models.SandboxEvent) -> schemas.InboxEvent:
    return schemas.InboxEvent(
        id=row.message_id,
        event_id=row.event_id,
        type=row.type,
        received_at=row.received_at,
        payload=json.loads(row.body),
        body=row.body,
        deliveries=[
            schemas.InboxDelivery(
                endpoint_id=one.endpoint.endpoint_id,
                url=one.endpoint.url,
                outcome=models.DeliveryStatus(one.status),
                next_try_at=one.due_at,
                tries=[schemas.InboxAttempt(**entry) for entry in one.log],
            )
            for one in row.deliveries.all()
        ],
    )


def _endpoint(row: models.EventEndpoint) -> schemas.EventEndpoint:
    return schemas.EventEndpoint(
        id=row.endpoint_id,
        url=row.url,
        event_types=row.event_types,
        misbehavior=schemas.Misbehavior(**Misbehavior(**row.misbehavior).model_dump()),
    )


def _clock(found: sandbox_clock.SandboxClock) -> schemas.SandboxClock:
    steps = [
        schemas.ClockStep(at=one.at, action=one.action, object_id=one.object_id)
        for one in found.next
    ]
    return schemas.SandboxClock(now=found.now, frozen=found.frozen, next=steps)


@router.get(
    "/sandboxes/{sandbox_id}/inbox", auth=READ, response=responses(200, schemas.InboxPage, 404, 422)
)
def list_inbox(
    request: ApiRequest,
    sandbox_id: str,
    after: After = "",
    wait: Wait = 0,
    limit: Limit = 50,
    type: TypeFilter = "",  # noqa: A002 - the name in the query
) -> schemas.InboxPage:
    """List the events of a sandbox, oldest first, with their deliveries.

    With `wait`, the response comes as soon as there is an event after `after`. If too many requests
    wait already, it comes at once.
    """
    sandbox = get_owned_sandbox(request, sandbox_id)
    position = decode_cursor(after, "inbox")[0] if after else 0
    rows = inbox.events(sandbox).filter(pk__gt=position).order_by("pk")
    if type:
        rows = rows.filter(type=type)
    found = list(rows[: limit + 1])
    if wait and not found:
        try:
            with concurrent_waits.slot(sandbox.owner_id):
                deadline = time.monotonic() + wait
                while not found and time.monotonic() < deadline:
                    time.sleep(POLL_SECONDS)
                    found = list(rows.all()[: limit + 1])
        except Unavailable:
            pass
    shown = found[:limit]
    return schemas.InboxPage(
        data=[_event(row) for row in shown],
        has_more=len(found) > limit,
        cursor=encode_cursor((shown[-1].pk,), "inbox") if shown else after,
    )


@router.post(
    "/sandboxes/{sandbox_id}/inbox",
    auth=LAUNCH,
    response=responses(201, schemas.CreatedEvent, 400, 404, 409, 413, 422),
)
def create_inbox_event(
    request: ApiRequest, sandbox_id: str, body: schemas.NewEvent
) -> Status[schemas.CreatedEvent]:
    """Let the sandbox record an event about one of its objects, which is delivered like others."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    event_id = actions.create_event(sandbox, request.auth, body.type, body.object_id)
    return Status(201, schemas.CreatedEvent(event_id=event_id))


@router.post(
    "/sandboxes/{sandbox_id}/inbox/{event_id}/replay",
    auth=LAUNCH,
    response=responses(202, schemas.Replayed, 404, 409),
)
def replay_inbox_event(
    request: ApiRequest, sandbox_id: str, event_id: str
) -> Status[schemas.Replayed]:
    """Deliver an event again to all endpoints that subscribe to it, with the same `webhook-id`."""
    rows = get_owned_sandbox(request, sandbox_id).inbox.select_related("sandbox")
    row = get_object_or_404(rows, message_id=_valid(event_id))
    return Status(202, schemas.Replayed(deliveries=actions.replay_event(row, request.auth)))


@router.get(
    "/sandboxes/{sandbox_id}/event-endpoints",
    auth=READ,
    response=responses(200, schemas.EventEndpointList, 404),
)
def list_event_endpoints(request: ApiRequest, sandbox_id: str) -> schemas.EventEndpointList:
    """List the webhook endpoints of a sandbox, as they were when its last event was read."""
    rows = inbox.endpoints(get_owned_sandbox(request, sandbox_id))
    return schemas.EventEndpointList(data=[_endpoint(row) for row in rows])


@router.patch(
    "/sandboxes/{sandbox_id}/event-endpoints/{endpoint_id}",
    auth=LAUNCH,
    response=responses(200, schemas.EventEndpoint, 400, 404, 413, 422),
)
def change_event_endpoint(
    request: ApiRequest, sandbox_id: str, endpoint_id: str, body: schemas.MisbehaviorChanges
) -> schemas.EventEndpoint:
    """Choose what goes wrong on purpose with deliveries to an endpoint. A reset ends it."""
    rows = inbox.endpoints(get_owned_sandbox(request, sandbox_id))
    row = get_object_or_404(rows, endpoint_id=_valid(endpoint_id))
    actions.set_misbehavior(row, request.auth, **body.model_dump(exclude_none=True))
    return _endpoint(row)


def _valid(text: str) -> str:
    """Return an id that the database can look for. Raises Http404."""
    if "\0" in text or len(text) > inbox.MAX_ID_LENGTH:
        raise Http404
    return text


@router.get(
    "/sandboxes/{sandbox_id}/clock",
    auth=READ,
    response=responses(200, schemas.SandboxClock, 404, 409),
)
def get_clock(request: ApiRequest, sandbox_id: str) -> schemas.SandboxClock:
    """Return the time of a running sandbox, and what is due next."""
    return _clock(sandbox_clock.read(get_owned_sandbox(request, sandbox_id)))


@router.post(
    "/sandboxes/{sandbox_id}/clock",
    auth=LAUNCH,
    response=responses(200, schemas.SandboxClock, 400, 404, 409, 413, 422),
)
def change_clock(
    request: ApiRequest, sandbox_id: str, body: schemas.ClockChanges
) -> schemas.SandboxClock:
    """Advance, freeze or resume the clock. Everything that is due until then is done, in order."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    changes = body.model_dump(mode="json", exclude_none=True)
    if not any(changes.values()):
        raise ValidationFailed("advance_by", "Send advance_to, advance_by, freeze or resume.")
    return _clock(actions.change_clock(sandbox, request.auth, **changes))
