"""Save sandboxes, restore them, and rename and delete save points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from sandboxes.actions.launch import MAX_IDEMPOTENCY_KEY_LENGTH, validate_name
from sandboxes.actions.locking import locked_running_sandbox
from sandboxes.blueprints import find_for_sandbox
from sandboxes.core import journal, save_points
from sandboxes.lib import clock, queue
from sandboxes.lib.exceptions import IdempotencyKeyReused, StateConflict, ValidationFailed
from sandboxes.models import EventKind, Sandbox, SavePoint
from sandboxes.worker import tasks as worker_tasks

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SAVE_NOT_RUNNING = "Only a running sandbox can be saved; this one is {state}."
RESTORE_NOT_RUNNING = (
    "Only a running sandbox can be restored; this one is {state}. Launch a new one from the save "
    "point."
)
RESET_PENDING = "The sandbox is being reset or restored. Try again in a moment."
SAVE_PENDING = "The sandbox is being saved. Try again in a moment."


def create(
    sandbox: Sandbox, name: str, actor: User, idempotency_key: str = ""
) -> tuple[SavePoint, bool]:
    """Request a save point of the owner's sandbox, and return it and True.

    If the idempotency key was used before, return the save point of that request and False. Resets
    the idle timer. Raises ValidationFailed, IdempotencyKeyReused, StateConflict.
    """
    name = _validate_name(name)
    if len(idempotency_key) > MAX_IDEMPOTENCY_KEY_LENGTH or not idempotency_key.isprintable():
        raise ValidationFailed(
            "Idempotency-Key", f"Use at most {MAX_IDEMPOTENCY_KEY_LENGTH} printable characters."
        )
    with transaction.atomic():
        owner = save_points.lock_owner(actor)
        if idempotency_key and (
            earlier := owner.save_points.filter(idempotency_key=idempotency_key).first()
        ):
            if (earlier.sandbox_id, earlier.name) != (sandbox.pk, name):
                raise IdempotencyKeyReused(
                    "This Idempotency-Key was already used with a different request."
                )
            return earlier, False
        with locked_running_sandbox(sandbox, SAVE_NOT_RUNNING) as row:
            _require_no_work(row)
            _require_stored_data(row)
            save_point = save_points.create(row, owner, name, idempotency_key)
            Sandbox.objects.filter(pk=row.pk).record_activity(clock.now())
            queue.enqueue(worker_tasks.save, row.public_id)
    return save_point, True


def restore(save_point: SavePoint, actor: User) -> Sandbox:
    """Request that the sandbox return to the data of its save point, and return the sandbox.

    Addresses and credentials stay. Raises StateConflict.
    """
    if save_point.sandbox is None:
        raise StateConflict("The sandbox of this save point has ended. Launch a new one from it.")
    with locked_running_sandbox(save_point.sandbox, RESTORE_NOT_RUNNING) as row:
        _require_no_work(row)
        locked = _lock_ready(save_point)
        now = clock.now()
        Sandbox.objects.filter(pk=row.pk).update(
            reset_requested_at=now,
            reset_to=locked,
            last_activity_at=clock.now_or_later(row.last_activity_at),
        )
        message = f"Restoration to the save point “{locked}” requested."
        journal.record(row, EventKind.RESTORE_REQUESTED, message, actor=actor)
        queue.enqueue(worker_tasks.reset, row.public_id)
    row.refresh_from_db()
    return row


def rename(save_point: SavePoint, name: str) -> None:
    """Change the name of a save point. Raises ValidationFailed."""
    save_point.name = _validate_name(name)
    save_point.save(update_fields=["name"])


def delete(save_point: SavePoint) -> None:
    """Delete a save point and its data. Raises StateConflict while it is being used."""
    with transaction.atomic():
        save_points.begin_delete(save_point)
        queue.enqueue(worker_tasks.remove_save_point, save_point.public_id)


def make_starting_point(save_point: SavePoint, *, wanted: bool) -> None:
    """Let everybody launch from a save point, or only its owner. For operators.

    Raises StateConflict if it isn't ready, or if new sandboxes would have its credentials.
    """
    with transaction.atomic():
        row = _lock_ready(save_point)
        if wanted:
            save_points.require_launchable(row)
        SavePoint.objects.filter(pk=row.pk).update(is_starting_point=wanted)
    save_point.refresh_from_db()


def _validate_name(name: str) -> str:
    name = validate_name(name)
    if not name:
        raise ValidationFailed("name", "Enter a name.")
    return name


def _require_no_work(row: Sandbox) -> None:
    if row.reset_requested_at is not None:
        raise StateConflict(RESET_PENDING)
    if row.save_points.saving().exists():
        raise StateConflict(SAVE_PENDING)


def _require_stored_data(row: Sandbox) -> None:
    blueprint = find_for_sandbox(row)
    if blueprint and any(service.volumes for service in blueprint.services):
        raise StateConflict(
            "Services of this sandbox share volumes, which save points don't include yet."
        )


def _lock_ready(save_point: SavePoint) -> SavePoint:
    """Return the locked row. Raises StateConflict unless it is ready."""
    row = SavePoint.objects.select_for_update().get(pk=save_point.pk)
    if not row.is_ready:
        raise StateConflict(f"This save point is {row.get_state_display().lower()}, and not ready.")
    return row
