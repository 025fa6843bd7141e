"""Save sandboxes, and remove save points.

Each function is safe to repeat after the worker was killed at any point.
"""

from __future__ import annotations

import structlog
from django.db import transaction

from sandboxes.blueprints import BlueprintNotFound
from sandboxes.core import leases, save_points
from sandboxes.encryption.fields import DecryptionError
from sandboxes.lib import clock, redaction
from sandboxes.models import Sandbox, SavePoint, SavePointState, State
from sandboxes.runtime import EngineUnreachable, RuntimeFailure, get_runtime
from sandboxes.worker import provisioning, teardown

log = structlog.get_logger(__name__)


def save(sandbox: Sandbox) -> None:
    """Save a sandbox whose save point was requested, unless another worker works on it."""
    save_point = sandbox.save_points.saving().first()
    if save_point is None:
        return
    if sandbox.state != State.RUNNING:
        give_up(save_point, "The sandbox has ended.")
    elif leases.acquire_lease(sandbox, [State.RUNNING]):
        _save(save_point, sandbox)


def _save(save_point: SavePoint, sandbox: Sandbox) -> None:
    """Save a sandbox whose lease the caller holds."""
    try:
        saved = get_runtime(sandbox.engine.connection).save(
            provisioning.specification(sandbox), save_point.public_id
        )
    except EngineUnreachable as error:
        leases.release_lease(sandbox, State.RUNNING, clock.now() + teardown.RETRY.first)
        log.warning("save_delayed", sandbox=sandbox.public_id, error=str(error))
        return
    except RuntimeFailure as error:
        failure = redaction.redact(str(error), sandbox.secrets)
    except (BlueprintNotFound, DecryptionError) as error:
        failure = str(error)
    else:
        failure = ""
    if _was_taken_over(sandbox):
        return  # Another worker saves it again.
    with transaction.atomic():
        # Locks the owner's row before the sandbox's, as requests do.
        if failure:
            save_points.mark_failed(save_point, failure)
        else:
            save_points.mark_ready(save_point, saved.size_bytes, saved.pause_seconds)
        leases.release_lease(sandbox, State.RUNNING)
    save_point.refresh_from_db()
    if not save_point.is_ready:
        _remove_from_engine(save_point)


def _was_taken_over(sandbox: Sandbox) -> bool:
    rows = Sandbox.objects.running().filter(pk=sandbox.pk)
    return rows.exclude(lease_token=sandbox.lease_token).exists()


def give_up(save_point: SavePoint, error: str) -> None:
    """Let a save point fail, and remove what it has on the engine."""
    if save_points.mark_failed(save_point, error):
        _remove_from_engine(save_point)


def remove(save_point: SavePoint) -> bool:
    """Remove a save point that is being deleted; return False if it has to be tried again."""
    if save_point.state != SavePointState.DELETING:
        return False
    removed = _remove_from_engine(save_point)
    if removed:
        save_point.delete()
    return removed


def _remove_from_engine(save_point: SavePoint) -> bool:
    """Remove the data; return False if a sandbox still needs it, or the engine didn't answer."""
    try:
        get_runtime(save_point.engine.connection).remove_save_point(save_point.public_id)
    except RuntimeFailure as error:
        log.info("left_to_the_reaper", save_point=save_point.public_id, error=str(error))
        return False
    return True
