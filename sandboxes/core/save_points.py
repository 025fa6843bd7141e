"""Transitions between the states of a save point, and its quota.

::

    create ──▶ saving ──mark_ready──▶ ready ──┐
                  └────mark_failed──▶ failed ──┴─begin_delete──▶ deleting ──▶ (no row)

Each transition is a conditional UPDATE, as in `lifecycle`. The engine is called in between, never
within one of them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db import transaction

from sandboxes import blueprints
from sandboxes.core import journal
from sandboxes.lib import clock
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import LAUNCHING_STATES, Engine, EventFeed, EventKind, Sandbox, SavePoint
from sandboxes.models import SavePointState as State
from sandboxes.models.runtime_settings import config

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.blueprints import Blueprint

SAVE_DEADLINE = timedelta(minutes=2)
"""Age at which a save point that isn't ready counts as failed."""
MAX_ERROR_LENGTH = 300
OVER_SIZE = (
    "Your save points would take {total:.0f} MB, and the limit is {limit} MB. Delete some, and "
    "save again."
)


def lock_owner(owner: User) -> User:
    """Return the locked row of a user, under which their save points are counted."""
    return get_user_model().objects.select_for_update().get(pk=owner.pk)


def free_slot(owner: User) -> int:
    """Return a free number within the owner's quota. The caller has locked the owner's row.

    Raises StateConflict.
    """
    kept, limit = owner.save_points.kept(), config.SANDBOX_SAVE_POINTS_PER_USER
    if not limit:
        raise StateConflict("Save points are disabled on this portal.")
    taken = set(kept.values_list("slot", flat=True))
    if len(taken) >= limit:
        raise StateConflict(f"You have {len(taken)} save points of {limit}. Delete one first.")
    if (total := kept.total_mb()) >= (most := config.SANDBOX_SAVE_POINTS_MB):
        raise StateConflict(f"Your save points take {total:.0f} MB of {most} MB. Delete one first.")
    return next(slot for slot in range(limit) if slot not in taken)


def create(sandbox: Sandbox, owner: User, name: str, idempotency_key: str = "") -> SavePoint:
    """Save the row of a new save point, before the engine is called.

    The caller has locked the rows of the owner and the sandbox. Raises StateConflict.
    """
    now = clock.now()
    save_point = SavePoint.objects.create(
        owner=owner,
        slot=free_slot(owner),
        name=name,
        sandbox=sandbox,
        blueprint=sandbox.blueprint,
        blueprint_version_id=sandbox.blueprint_version_id,
        parameters=sandbox.parameters,
        engine_id=sandbox.engine_name,
        idempotency_key=idempotency_key,
        created_at=now,
        expires_at=now + timedelta(days=config.SANDBOX_SAVE_POINT_DAYS),
    )
    message = f"Save point “{name}” requested."
    journal.record(sandbox, EventKind.SAVE_REQUESTED, message, actor=owner)
    return save_point


def require_launchable(save_point: SavePoint) -> Blueprint:
    """Return the blueprint with which sandboxes are launched from a save point.

    Raises StateConflict if its version can't be read, or has no command for new credentials.
    """
    try:
        blueprint = blueprints.for_save_point(save_point)
    except blueprints.BlueprintNotFound as error:
        raise StateConflict(str(error)) from error
    if not blueprint.can_rekey:
        raise StateConflict(
            f"New sandboxes would have the credentials of the one that was saved: “"
            f"{blueprint.title}” has no command that sets new ones. Its author can add "
            "x-sandbox.rekey; save a sandbox of the new version then."
        )
    return blueprint


@transaction.atomic
def mark_ready(save_point: SavePoint, size_bytes: int, pause_seconds: float) -> bool:
    """Mark a save point as ready, or as failed if its owner's would then be too large.

    Return whether it is ready.
    """
    owner = save_point.owner
    if owner is not None:
        lock_owner(owner)
        kept = SavePoint(size_bytes=size_bytes).size_mb + owner.save_points.kept().total_mb()
        if kept > (most := config.SANDBOX_SAVE_POINTS_MB):
            mark_failed(save_point, OVER_SIZE.format(total=kept, limit=most))
            return False
    feed = EventFeed.objects.filter(sandbox=save_point.sandbox_id).first()
    if not SavePoint.objects.saving().claim(
        save_point.pk,
        state=State.READY,
        size_bytes=size_bytes,
        pause_seconds=round(pause_seconds, 3),
        event_cursor=feed.cursor if feed else "",
    ):
        return False
    save_point.refresh_from_db()
    if save_point.sandbox:
        message = f"Saved as “{save_point}” ({save_point.size_mb:.1f} MB)."
        journal.record(
            save_point.sandbox, EventKind.SAVED, message, save_point=save_point.public_id
        )
    return True


@transaction.atomic
def mark_failed(save_point: SavePoint, error: str) -> bool:
    """Mark a save point that couldn't be saved as failed; it no longer counts."""
    values = {"state": State.FAILED, "slot": None, "error": error[:MAX_ERROR_LENGTH]}
    moved = SavePoint.objects.saving().claim(save_point.pk, **values)
    if moved:
        save_point.refresh_from_db()
        if save_point.sandbox:
            message = f"Couldn't save “{save_point}”: {save_point.error}"
            journal.record(save_point.sandbox, EventKind.SAVE_FAILED, message)
    return moved


@transaction.atomic
def begin_delete(save_point: SavePoint) -> None:
    """Delete a save point, which no longer counts. Repeated calls have no effect.

    Raises StateConflict while a sandbox is launched from it or restored to it.
    """
    row = SavePoint.objects.select_for_update().get(pk=save_point.pk)
    if row.state == State.DELETING:
        return
    if row.state == State.SAVING:
        raise StateConflict("This save point is being saved. Try again in a moment.")
    if row.restoring.exists() or row.launched.filter(state__in=LAUNCHING_STATES).exists():
        raise StateConflict("This save point is being used. Try again in a moment.")
    SavePoint.objects.filter(pk=row.pk).update(
        state=State.DELETING, slot=None, is_starting_point=False
    )
    save_point.refresh_from_db()


def give_up_all(engine: Engine) -> None:
    """Delete all save points of an engine that is being removed."""
    engine.save_points.update(state=State.DELETING, slot=None, is_starting_point=False)
