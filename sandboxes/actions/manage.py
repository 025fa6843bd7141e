"""What a person may ask of the portal. Pages, API and admin all come through here.

Every function takes the sandbox as its caller fetched it, within what the actor may see, reads it
again under a lock, and answers a `ServiceError` when it is not to be.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import transaction

from sandboxes import queue
from sandboxes.actions.locking import locked_running_sandbox
from sandboxes.core import journal as core_journal
from sandboxes.core import lifecycle, limits
from sandboxes.core.limits import extension_preview
from sandboxes.lib import clock
from sandboxes.lib.exceptions import StateConflict, ValidationFailed
from sandboxes.models import (
    EndReason,
    Extension,
    Funding,
    Sandbox,
)
from sandboxes.worker import tasks as worker_tasks

if TYPE_CHECKING:
    from django.contrib.auth.models import User
EXTEND_NOT_RUNNING = "Only a running sandbox can be extended; this one is {state}."
KEEP_ALIVE_NOT_RUNNING = "Only a running sandbox can be kept alive; this one is {state}."
RESET_NOT_RUNNING = "Only a running sandbox can be reset; this one is {state}."


def extend(sandbox: Sandbox, minutes: int, actor: User, reason: str = "") -> Extension:
    """Give the sandbox more time. Its owner can once; operators again. Restarts the idle clock.

    Raises ValidationFailed, StateConflict.
    """
    most = limits.get_limits(actor).extension_max_minutes
    if not 1 <= minutes <= most:
        raise ValidationFailed("minutes", f"Extend by 1 to {most} minutes.")
    with locked_running_sandbox(sandbox, EXTEND_NOT_RUNNING) as row:
        by_operator = actor.pk != row.owner_id
        if not by_operator and row.extensions.filter(by_operator=False).exists():
            raise StateConflict("This sandbox was extended already; each can be extended once.")
        given = extension_preview(row, minutes)
        if given < timedelta(minutes=1):
            raise StateConflict("This sandbox has reached the longest lifetime that is allowed.")
        assert row.expires_at
        extension = Extension.objects.create(
            sandbox=row,
            minutes=given // timedelta(minutes=1),
            by_operator=by_operator,
            granted_by=actor,
            expires_before=row.expires_at,
            expires_after=row.expires_at + given,
            created_at=clock.now(),
        )
        _record_activity(row, expires_at=extension.expires_after)
        message = f"Extended by {extension.minutes} minutes."
        core_journal.record(row, "extended", f"{message} {reason}".strip(), actor=actor)
    sandbox.refresh_from_db()
    return extension


def _record_activity(row: Sandbox, **values: object) -> None:
    last = clock.now_or_later(row.last_activity_at)
    Sandbox.objects.filter(pk=row.pk).update(last_activity_at=last, **values)


def touch(sandbox: Sandbox, actor: User) -> None:
    """Start the idle clock again. Raises StateConflict."""
    with locked_running_sandbox(sandbox, KEEP_ALIVE_NOT_RUNNING) as row:
        _record_activity(row)
        core_journal.record(row, "touched", "The idle clock was started again.", actor=actor)
    sandbox.refresh_from_db()


def reset(sandbox: Sandbox, actor: User) -> None:
    """Have the seed data put back; asking again meanwhile is one request. Raises StateConflict."""
    with locked_running_sandbox(sandbox, RESET_NOT_RUNNING) as row:
        if row.reset_requested_at is None:
            _record_activity(row, reset_requested_at=clock.now())
            core_journal.record(row, "reset_requested", "A reset was asked for.", actor=actor)
        queue.enqueue(worker_tasks.reset, row.public_id)
    sandbox.refresh_from_db()


def destroy(sandbox: Sandbox, actor: User, reason: str = "") -> None:
    """End the sandbox; asking again is no error."""
    own = actor.pk == sandbox.owner_id
    why = EndReason.USER if own else EndReason.OPERATOR
    message = reason or f"It was {why.label}."
    with transaction.atomic():
        lifecycle.begin_destroy(sandbox, why, message, actor=actor)
        queue.enqueue(worker_tasks.tear_down, sandbox.public_id)
    sandbox.refresh_from_db()


def retry_funding(sandbox: Sandbox, actor: User) -> None:
    """Ask friendbot again, now. Raises StateConflict when there is nothing to ask for."""
    with transaction.atomic():
        asked = (
            Sandbox.objects.active()
            .filter(pk=sandbox.pk)
            .exclude(funding=Funding.FUNDED)
            .update(funding=Funding.PENDING, funding_due_at=clock.now(), funding_attempts=0)
        )
        if not asked:
            raise StateConflict("The Stellar account is funded already, or the sandbox has ended.")
        core_journal.record(sandbox, "funding_asked", "Friendbot is asked again.", actor=actor)
        queue.enqueue(worker_tasks.fund, sandbox.public_id)
    sandbox.refresh_from_db()
