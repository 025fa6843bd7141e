"""`POST /sandboxes`: launch a sandbox, and wait for it if the client prefers to."""

from __future__ import annotations

import re
import time

from django.http import HttpResponse
from django.urls import reverse
from ninja import HeaderEx, P
from ninja.responses import Status

from sandboxes import actions
from sandboxes.api import request_schemas
from sandboxes.api.auth import LAUNCH, ApiRequest
from sandboxes.api.lookups import get_owned_sandbox
from sandboxes.api.openapi import responses
from sandboxes.api.sandboxes import router
from sandboxes.lib.concurrency import ConcurrencyLimit
from sandboxes.lib.exceptions import Unavailable
from sandboxes.models import LAUNCHING_STATES, Sandbox
from sandboxes.representations import schemas, serializers

__all__ = ["router"]

IdempotencyKey = HeaderEx[
    str,
    P(
        alias="Idempotency-Key",
        max_length=actions.MAX_IDEMPOTENCY_KEY_LENGTH,
        description="Repeating a request with the same key returns the same sandbox for 24 h.",
    ),
]
Prefer = HeaderEx[
    str,
    P(
        alias="Prefer",
        description=(
            "`wait=N`: respond when the sandbox runs or failed, or after N s (at most 60). If too "
            "many requests wait already, the response comes at once, without `Preference-Applied`."
        ),
    ),
]
WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*"?(\d{1,6})"?(?=$|[,;\s])', re.IGNORECASE)
MAX_WAIT_SECONDS = 60
MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.03, 0.5
TYPICAL_LAUNCH_SECONDS = 3.0
"""The state is polled at the shortest interval for this long, then less often."""

concurrent_waits = ConcurrencyLimit.share_of_web_threads(1 / 3, per_user=4)


@router.post("/sandboxes", auth=LAUNCH, response=responses(201, schemas.Sandbox, 400, 413, 422))
def launch_sandbox(
    request: ApiRequest,
    response: HttpResponse,
    body: request_schemas.Launch | None = None,
    idempotency_key: IdempotencyKey = "",
    prefer: Prefer = "",
) -> Status[schemas.Sandbox]:
    """Launch a sandbox.

    Responds at once with the state `pending`, unless the `Prefer` header says to wait.
    """
    body = body or request_schemas.Launch()
    launch = actions.LaunchRequest(
        body.blueprint,
        body.ttl_minutes,
        body.name or "",
        body.parameters or {},
        body.metadata or {},
        body.heartbeat_seconds,
        save_point=body.save_point or "",
    )
    launched = actions.launch_sandbox(request.auth, launch, idempotency_key)
    return _respond(request, response, *launched, prefer)


@router.post(
    "/sandboxes/{sandbox_id}/replace",
    auth=LAUNCH,
    response=responses(201, schemas.Sandbox, 404, 409, 422),
)
def replace_sandbox(
    request: ApiRequest,
    response: HttpResponse,
    sandbox_id: str,
    idempotency_key: IdempotencyKey = "",
    prefer: Prefer = "",
) -> Status[schemas.Sandbox]:
    """Replace a sandbox with `unreachable_since` by a new one with the same options.

    The old one ends as `lost`. Responds like a launch; without the data of the old one.
    """
    sandbox = get_owned_sandbox(request, sandbox_id)
    launched = actions.replace(sandbox, request.auth, idempotency_key)
    return _respond(request, response, *launched, prefer)


def _respond(
    request: ApiRequest, response: HttpResponse, sandbox: Sandbox, is_new: bool, prefer: str
) -> Status[schemas.Sandbox]:
    """Return the launched sandbox, after the wait that the client prefers."""
    if not is_new:
        response["Idempotent-Replayed"] = "true"
    if (seconds := parse_prefer_wait(prefer)) and wait_until_launched(sandbox, seconds):
        response["Preference-Applied"] = f"wait={seconds}"
    sandbox.refresh_from_db()
    path = reverse("api:get_sandbox", args=[sandbox.public_id])
    response["Location"] = request.build_absolute_uri(path)
    # A new sandbox has no extension; otherwise it is looked up.
    return Status(201, serializers.sandbox(sandbox, extended=False if is_new else None))


def parse_prefer_wait(prefer: str) -> int:
    """Return the seconds to wait by a `Prefer` header; invalid ones are ignored (RFC 7240)."""
    match = WAIT.search(prefer)
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else 0


def wait_until_launched(sandbox: Sandbox, seconds: float) -> bool:
    """Wait until the sandbox runs, has failed, or the time is over.

    Return False at once if the process or the user has too many requests that wait.
    """
    if sandbox.state not in LAUNCHING_STATES:
        return True
    try:
        with concurrent_waits.slot(sandbox.owner_id):
            _poll(sandbox, seconds)
    except Unavailable:
        return False
    return True


def _poll(sandbox: Sandbox, seconds: float) -> None:
    waited, delay = 0.0, MIN_POLL_SECONDS
    while waited < seconds and sandbox.state in LAUNCHING_STATES:
        time.sleep(min(delay, seconds - waited))
        waited += delay
        if waited > TYPICAL_LAUNCH_SECONDS:
            delay = min(delay * 1.2, MAX_POLL_SECONDS)
        sandbox.refresh_from_db()
