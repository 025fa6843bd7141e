"""Extend, touch, reset and destroy sandboxes, and retry their funding."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils.text import capfirst

from sandboxes.actions.launch import validate_name
from sandboxes.actions.launch_options import validate_metadata
from sandboxes.actions.locking import locked_running_sandbox
from sandboxes.core import journal, lifecycle, limits
from sandboxes.core.limits import extension_preview
from sandboxes.lib import clock, queue
from sandboxes.lib.exceptions import StateConflict, ValidationFailed
from sandboxes.models import (
    EndReason,
    EventKind,
    Extension,
    Funding,
    MetadataEntry,
    Sandbox,
)
from sandboxes.worker import tasks as worker_tasks

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_AGENT_LENGTH, MAX_SUMMARY_LENGTH = 100, 300
EXTEND_NOT_RUNNING = "Only a running sandbox can be extended; this one is {state}."
KEEP_ALIVE_NOT_RUNNING = "Only a running sandbox can be kept alive; this one is {state}."
HEARTBEAT_ENDED = "Only an active sandbox takes heartbeats; this one is {state}."
RESET_NOT_RUNNING = "Only a running sandbox can be reset; this one is {state}."

RESET_DURING_SAVE = "The sandbox is being saved or restored. Try again in a moment."


def extend(sandbox: Sandbox, minutes: int, actor: User, reason: str = "") -> Extension:
    """Extend the lifetime of the sandbox, and reset its idle timer.

    The owner can extend a sandbox once, operators any number of times.

    Raises ValidationFailed, StateConflict.
    """
    longest = limits.get_limits(actor).extension_max_minutes
    if not 1 <= minutes <= longest:
        raise ValidationFailed("minutes", f"Extend by 1 to {longest} minutes.")
    with locked_running_sandbox(sandbox, EXTEND_NOT_RUNNING) as row:
        by_operator = actor.pk != row.owner_id
        if not by_operator and row.extensions.filter(by_operator=False).exists():
            raise StateConflict("Already extended. Each sandbox can be extended once.")
        granted = extension_preview(row, minutes)
        if granted < timedelta(minutes=1):
            raise StateConflict("This sandbox has reached its maximum lifetime.")
        assert row.expires_at
        extension = Extension.objects.create(
            sandbox=row,
            minutes=granted // timedelta(minutes=1),
            by_operator=by_operator,
            granted_by=actor,
            expires_before=row.expires_at,
            expires_after=row.expires_at + granted,
            created_at=clock.now(),
        )
        _record_activity(row, expires_at=extension.expires_after)
        message = f"Extended by {extension.minutes} minutes."
        journal.record(row, EventKind.EXTENDED, f"{message} {reason}".strip(), actor=actor)
    sandbox.refresh_from_db()
    return extension


def _record_activity(row: Sandbox, **values: object) -> None:
    now = clock.now_or_later(row.last_activity_at)
    Sandbox.objects.filter(pk=row.pk).update(last_activity_at=now, **values)


def touch(sandbox: Sandbox, actor: User) -> None:
    """Reset the idle timer. Raises StateConflict."""
    with locked_running_sandbox(sandbox, KEEP_ALIVE_NOT_RUNNING) as row:
        _record_activity(row)
        journal.record(row, EventKind.TOUCHED, "Idle timer reset.", actor=actor)
    sandbox.refresh_from_db()


def record_heartbeat(sandbox: Sandbox) -> None:
    """Record that the client of the sandbox still uses it.

    Raises StateConflict if the sandbox has ended, or was launched without heartbeats.
    """
    if sandbox.heartbeat_seconds is None:
        raise StateConflict("This sandbox was launched without heartbeat_seconds.")
    due = clock.now() + timedelta(seconds=sandbox.heartbeat_seconds)
    if not Sandbox.objects.active().filter(pk=sandbox.pk).update(heartbeat_expires_at=due):
        sandbox.refresh_from_db()
        raise StateConflict(HEARTBEAT_ENDED.format(state=sandbox.state))
    sandbox.heartbeat_expires_at = due


def record_agent_call(sandbox: Sandbox, agent: str, tool: str, summary: str, actor: User) -> None:
    """Record in the journal that an agent is about to use the sandbox, in any state.

    Raises ValidationFailed.
    """
    for field, text in (("agent", agent), ("tool", tool)):
        if not text.strip() or len(text) > MAX_AGENT_LENGTH:
            raise ValidationFailed(field, f"Enter 1 to {MAX_AGENT_LENGTH} characters.")
    if len(summary) > MAX_SUMMARY_LENGTH:
        raise ValidationFailed("summary", f"Enter at most {MAX_SUMMARY_LENGTH} characters.")
    agent, tool, summary = (
        " ".join(text.replace("\0", "").split()) for text in (agent, tool, summary)
    )
    message = f"Agent {agent} calls {tool}{f': {summary}' if summary else '.'}"
    journal.record(sandbox, EventKind.AGENT_CALL, message, actor=actor, agent=agent, tool=tool)


def rename(sandbox: Sandbox, name: str, actor: User) -> None:
    """Change the name of the sandbox, in any state. Raises ValidationFailed."""
    name = validate_name(name)
    if not name:
        raise ValidationFailed("name", "Enter a name.")
    with transaction.atomic():
        row = Sandbox.objects.select_for_update().get(pk=sandbox.pk)
        if row.name != name:
            Sandbox.objects.filter(pk=row.pk).update(name=name)
            message = f"Renamed from {row} to {name}."
            journal.record(row, EventKind.RENAMED, message, actor=actor)
    sandbox.refresh_from_db()


def change_metadata(sandbox: Sandbox, changes: Mapping[str, Any]) -> None:
    """Add, change and, for values of None, remove metadata of the sandbox, in any state.

    Raises ValidationFailed.
    """
    with transaction.atomic():
        row = Sandbox.objects.select_for_update().get(pk=sandbox.pk)
        merged = {**row.metadata, **changes}
        row.metadata = validate_metadata(
            {key: value for key, value in merged.items() if value is not None}
        )
        row.save(update_fields=["metadata"])
        row.metadata_entries.all().delete()
        MetadataEntry.index(row)
    sandbox.refresh_from_db()


def reset(sandbox: Sandbox, actor: User) -> None:
    """Request that the data be reset to the seed. Raises StateConflict.

    While a reset is pending, further calls have no effect.
    """
    with locked_running_sandbox(sandbox, RESET_NOT_RUNNING) as row:
        if row.reset_to_id or row.save_points.saving().exists():
            raise StateConflict(RESET_DURING_SAVE)
        if row.reset_requested_at is None:
            _record_activity(row, reset_requested_at=clock.now())
            journal.record(row, EventKind.RESET_REQUESTED, "Reset requested.", actor=actor)
        queue.enqueue(worker_tasks.reset, row.public_id)
    sandbox.refresh_from_db()


def destroy(sandbox: Sandbox, actor: User, reason: str = "") -> None:
    """End the sandbox. Repeated calls have no effect."""
    by_owner = actor.pk == sandbox.owner_id
    end_reason = EndReason.USER if by_owner else EndReason.OPERATOR
    message = reason or f"{capfirst(end_reason.label)}."
    with transaction.atomic():
        lifecycle.begin_destroy(sandbox, end_reason, message, actor=actor)
        queue.enqueue(worker_tasks.tear_down, sandbox.public_id)
    sandbox.refresh_from_db()


def retry_funding(sandbox: Sandbox, actor: User) -> None:
    """Request funds again, as soon as attempts don't pause.

    Raises StateConflict without an account, if it is funded, or if the sandbox has ended.
    """
    with transaction.atomic():
        updated = (
            Sandbox.objects.active()
            .filter(pk=sandbox.pk)
            .exclude(funding__in=("", Funding.FUNDED))
            .update(funding=Funding.PENDING, funding_due_at=clock.now(), funding_attempts=0)
        )
        if not updated:
            raise StateConflict(
                "There is nothing to fund: the sandbox has no account, the account is already "
                "funded, or the sandbox has ended."
            )
        journal.record(sandbox, EventKind.FUNDING_ASKED, "Funding retry requested.", actor=actor)
        queue.enqueue(worker_tasks.fund, sandbox.public_id)
    sandbox.refresh_from_db()
