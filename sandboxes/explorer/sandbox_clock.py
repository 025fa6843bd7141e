"""The clock of a sandbox (`x-sandbox.clock`): read, advance, freeze and resume it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any

from sandboxes import blueprints
from sandboxes.explorer.client import TIMEOUT_SECONDS, ApiRequest, ApiResponse, send
from sandboxes.explorer.json_responses import aware_time, json_object, refusal
from sandboxes.lib.exceptions import StateConflict, Unavailable
from sandboxes.models import Sandbox

CHANGES = ("advance_to", "advance_by", "freeze", "resume")
ADVANCE_SECONDS = 30.0
"""Time limit of a change: everything that is due until then is done."""
MAX_STEPS = 20
MAX_TEXT_LENGTH = 100


@dataclass(frozen=True)
class Step:
    """What is due at a time."""

    at: datetime
    action: str
    object_id: str


@dataclass(frozen=True)
class SandboxClock:
    """The time of a sandbox, and what is due next."""

    now: datetime
    frozen: bool
    next: list[Step] = field(default_factory=list)


def has_clock(sandbox: Sandbox) -> bool:
    """Return whether the blueprint of a sandbox describes a clock."""
    blueprint = blueprints.find_for_sandbox(sandbox)
    return bool(blueprint and blueprint.clock)


def read(sandbox: Sandbox) -> SandboxClock:
    """Return the clock, which does not count as activity. Raises StateConflict, Unavailable."""
    return _parse(_send(sandbox, "GET", automatic=True))


def change(sandbox: Sandbox, **changes: Any) -> SandboxClock:
    """Advance, freeze or resume the clock, and return it.

    Raises StateConflict, ValidationFailed with what the sandbox says, Unavailable.
    """
    body = {name: value for name, value in changes.items() if value}
    response = _send(sandbox, "POST", json.dumps(body).encode(), seconds=ADVANCE_SECONDS)
    if response.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        raise refusal(json_object(response.body), CHANGES)
    return _parse(response)


def _send(
    sandbox: Sandbox,
    method: str,
    body: bytes = b"",
    *,
    automatic: bool = False,
    seconds: float = TIMEOUT_SECONDS,
) -> ApiResponse:
    blueprint = blueprints.find_for_sandbox(sandbox)
    if blueprint is None or blueprint.clock is None:
        raise StateConflict("The blueprint of this sandbox doesn't describe a clock.")
    request = ApiRequest(method, blueprint.clock.path, body, automatic=automatic)
    return send(sandbox, request, blueprint.clock.endpoint, seconds)


def _parse(response: ApiResponse) -> SandboxClock:
    """Return the clock in a response. Raises Unavailable."""
    if not response.succeeded:
        raise Unavailable(f"The sandbox returned {response.status} for its clock.")
    answer = json_object(response.body)
    now, steps = aware_time(answer.get("now")), answer.get("next")
    if now is None:
        raise Unavailable("The sandbox's clock is invalid.")
    found = [_step(item) for item in steps[:MAX_STEPS]] if isinstance(steps, list) else []
    return SandboxClock(now, bool(answer.get("frozen")), [step for step in found if step])


def _step(item: Any) -> Step | None:
    at = aware_time(item.get("at")) if isinstance(item, dict) else None
    if at is None:
        return None
    action, about = str(item.get("action", "")), str(item.get("object_id", ""))
    return Step(at, action[:MAX_TEXT_LENGTH], about[:MAX_TEXT_LENGTH])
