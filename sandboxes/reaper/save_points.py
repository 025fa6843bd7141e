"""Save points in a sweep: end those that are due, and remove what no save point needs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import structlog
from django.db.models import Q

from sandboxes.core import save_points
from sandboxes.core.reaper_policy import REQUEUE_AFTER
from sandboxes.lib import clock, queue
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import Engine, SavePoint, SavePointState
from sandboxes.models.runtime_settings import config
from sandboxes.runtime import get_runtime
from sandboxes.worker import save_points as worker_save_points
from sandboxes.worker import tasks as worker_tasks

log = structlog.get_logger(__name__)

MAX_PER_SWEEP = 50
"""Save points that one sweep ends or removes; the next one continues."""


def requeue_saves() -> None:
    """Send tasks for saves that no worker has finished; let those fail that take too long."""
    now = clock.now()
    for row in SavePoint.objects.saving().filter(created_at__lt=now - REQUEUE_AFTER):
        sandbox = row.sandbox
        if sandbox is None or not sandbox.is_not_ending:
            worker_save_points.give_up(row, "The sandbox has ended.")
        elif clock.is_older(row.created_at, now, save_points.SAVE_DEADLINE):
            worker_save_points.give_up(row, "It took too long. Save the sandbox again.")
        else:
            queue.enqueue(worker_tasks.save, sandbox.public_id)


def end_due() -> None:
    """Delete save points past their time, and those whose owner's account was closed."""
    closed = Q(owner=None) | Q(owner__is_active=False)
    due = SavePoint.objects.listed().filter(Q(expires_at__lt=clock.now()) | closed)
    for row in due.filter(is_starting_point=False).order_by("expires_at")[:MAX_PER_SWEEP]:
        try:
            save_points.begin_delete(row)
        except StateConflict as error:
            log.info("save_point_kept", save_point=row.public_id, reason=str(error))


def remove_leftovers(engines: Iterable[Engine]) -> None:
    """Remove deleted save points, and data without a save point. Raises RuntimeFailure."""
    # Read before the engines, so that a new one isn't mistaken for a leftover.
    deleting = SavePoint.objects.filter(state=SavePointState.DELETING)
    rows = list(deleting.select_related("engine")[:MAX_PER_SWEEP])
    names = {engine.name for engine in engines}
    for row in rows:
        if row.engine.removed_at:
            row.delete()
        elif row.engine_id in names:
            worker_save_points.remove(row)
    grace = timedelta(seconds=config.SANDBOX_ORPHAN_GRACE_SECONDS)
    for engine in engines:
        runtime = get_runtime(engine.connection)
        for public_id, created_at in runtime.save_points().items():
            known = SavePoint.objects.filter(public_id=public_id, engine=engine)
            needed = known.exclude(state=SavePointState.FAILED).exists()
            if not needed and clock.is_older(created_at, clock.now(), grace):
                runtime.remove_save_point(public_id)
