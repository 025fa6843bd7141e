"""What owners change through a sandbox's clock and inbox.

Requests to the sandbox are sent outside of transactions; the journal has those that succeeded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from sandboxes.actions.locking import locked_running_sandbox
from sandboxes.core import journal
from sandboxes.explorer import sandbox_clock
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import EventEndpoint, EventKind, Sandbox, SandboxEvent
from sandboxes.webhooks.inbox import inbox

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CLOCK_NOT_RUNNING = "Only a running sandbox has a clock; this one is {state}."
CREATE_NOT_RUNNING = "Only a running sandbox creates events; this one is {state}."
REPLAY_NOT_RUNNING = "Only a running sandbox delivers events; this one is {state}."
ENDPOINT_NOT_RUNNING = "Only a running sandbox has webhook endpoints; this one is {state}."


def change_clock(sandbox: Sandbox, actor: User, **changes: Any) -> sandbox_clock.SandboxClock:
    """Advance, freeze or resume the clock of a sandbox, and return it.

    Raises StateConflict, ValidationFailed with what the sandbox says, Unavailable.
    """
    _check_changeable(sandbox, CLOCK_NOT_RUNNING)
    found = sandbox_clock.change(sandbox, **changes)
    words = ", ".join(
        name if value is True else f"{name} {value}" for name, value in changes.items() if value
    )
    _record(sandbox, EventKind.CLOCK_CHANGED, f"Clock changed: {words}.", actor)
    return found


def create_event(sandbox: Sandbox, actor: User, kind: str, object_id: str) -> str:
    """Let a sandbox record an event about one of its objects, and return the event's id.

    Raises StateConflict, ValidationFailed, Unavailable.
    """
    _check_changeable(sandbox, CREATE_NOT_RUNNING)
    event_id = inbox.create(sandbox, kind, object_id)
    _record(sandbox, EventKind.EVENT_CREATED, f"Event {kind} sent for {object_id}.", actor)
    return event_id


def replay_event(event: SandboxEvent, actor: User) -> int:
    """Deliver an event again, and return to how many endpoints. Raises StateConflict."""
    with locked_running_sandbox(event.sandbox, REPLAY_NOT_RUNNING) as row:
        _refuse_during_reset(row)
        count = inbox.replay(event)
        message = f"Event {event.event_id} ({event.type}) replayed."
        journal.record(row, EventKind.EVENT_REPLAYED, message, actor=actor)
    return count


def set_misbehavior(endpoint: EventEndpoint, actor: User, **values: Any) -> None:
    """Choose what goes wrong with deliveries to an endpoint of a sandbox.

    Raises StateConflict, ValidationFailed.
    """
    with locked_running_sandbox(endpoint.sandbox, ENDPOINT_NOT_RUNNING) as row:
        _refuse_during_reset(row)
        inbox.set_misbehavior(endpoint, **values)
        chosen = ", ".join(f"{name} {value}" for name, value in endpoint.misbehavior.items())
        message = f"Deliveries to {endpoint.endpoint_id} go wrong on purpose: {chosen or 'none'}."
        journal.record(row, EventKind.ENDPOINT_CHANGED, message, actor=actor)


def _check_changeable(sandbox: Sandbox, error: str) -> None:
    with locked_running_sandbox(sandbox, error) as row:
        _refuse_during_reset(row)


def _refuse_during_reset(row: Sandbox) -> None:
    if row.reset_requested_at is not None:
        raise StateConflict("The data is being reset. Try again in a moment.")


@transaction.atomic
def _record(sandbox: Sandbox, kind: EventKind, message: str, actor: User) -> None:
    row = Sandbox.objects.select_for_update().get(pk=sandbox.pk)
    journal.record(row, kind, message, actor=actor)
