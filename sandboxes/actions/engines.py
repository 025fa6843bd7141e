"""Changes of the state of engines. The callers record them in the audit log, with the reason."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from sandboxes.core import lifecycle, save_points
from sandboxes.lib import clock, queue
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import EndReason, Engine, EngineState, LaunchLock, Sandbox
from sandboxes.pool import tasks as pool_tasks


@transaction.atomic
def drain(engine: Engine) -> None:
    """Place nothing new on the engine. Its part of the pool ends; running sandboxes stay.

    Raises StateConflict if the engine is being drained or was removed.
    """
    LaunchLock.acquire()
    engine.refresh_from_db()
    if engine.draining_since or engine.removed_at:
        raise StateConflict(f"The engine {engine} is already {engine.state}.")
    engine.store(draining_since=clock.now())
    queue.enqueue(pool_tasks.reconcile_pools)


@transaction.atomic
def activate(engine: Engine) -> None:
    """Place new sandboxes on the engine again. Raises StateConflict if it isn't being drained."""
    LaunchLock.acquire()
    engine.refresh_from_db()
    if not engine.draining_since and not engine.removed_at:
        raise StateConflict(f"The engine {engine} isn't being drained.")
    engine.store(draining_since=None, removed_at=None)
    queue.enqueue(pool_tasks.reconcile_pools)


@transaction.atomic
def change(engine: Engine, weight: int, labels: Mapping[str, str]) -> None:
    """Change the share of new sandboxes that an engine gets, and its labels."""
    LaunchLock.acquire()
    engine.store(weight=weight, labels=dict(labels))
    queue.enqueue(pool_tasks.reconcile_pools)


@transaction.atomic
def remove(engine: Engine, *, force: bool = False) -> int:
    """Remove an engine without sandboxes from the portal; return how many sandboxes were lost.

    With `force`, those that it still has end as lost. Raises StateConflict otherwise, and for the
    last engine.
    """
    LaunchLock.acquire()
    engine.refresh_from_db()
    if engine.state == EngineState.REMOVED:
        raise StateConflict(f"The engine {engine} is already removed.")
    if not Engine.objects.present().exclude(pk=engine.pk).exists():
        raise StateConflict("The portal needs an engine. Add another one first.")
    live = list(Sandbox.objects.live().filter(engine=engine))
    if live and not force:
        raise StateConflict(
            f"The engine {engine} has {len(live)} sandboxes. Drain it and wait until they have "
            "ended, or force the removal, which gives them up."
        )
    for sandbox in live:
        lifecycle.begin_destroy(sandbox, EndReason.LOST, f"Its engine {engine} was removed.")
        lifecycle.mark_destroyed(sandbox)
    if engine.save_points.ready().exists() and not force:
        raise StateConflict(
            f"The engine {engine} has save points, which are lost without it. Delete them, or "
            "force the removal, which gives them up."
        )
    save_points.give_up_all(engine)
    engine.store(removed_at=clock.now())
    return len(live)
