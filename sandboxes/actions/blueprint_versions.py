"""Which version of a blueprint new sandboxes are launched from.

Running sandboxes keep theirs. The callers record in the audit log who did it and why.
"""

from __future__ import annotations

from django.db import transaction

from sandboxes.lib import clock, queue
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import BlueprintVersion, Pool
from sandboxes.models.runtime_settings import config
from sandboxes.pool import tasks as pool_tasks


@transaction.atomic
def activate(version: BlueprintVersion) -> None:
    """Launch new sandboxes from this version, also if the blueprint was disabled.

    All processes do so within seconds. Raises StateConflict if that is already so, or if the
    engine lacks images of the version.
    """
    versions = BlueprintVersion.objects.filter(name=version.name)
    locked = {row.pk: row for row in versions.select_for_update().order_by("pk")}
    if locked[version.pk].images_missing_since:
        raise StateConflict(
            f"The engine no longer has all images of the version {version}. Put the files of that "
            f"version back, and run `manage.py blueprint prepare {version.name}`."
        )
    disabled = Pool.objects.filter(blueprint=version.name, switched_off=True)
    if not disabled.update(switched_off=False) and locked[version.pk].is_active:
        raise StateConflict(f"The version {version} is already active.")
    versions.exclude(pk=version.pk).filter(is_active=True).update(is_active=False)
    version.is_active, version.activated_at = True, clock.now()
    version.save(update_fields=["is_active", "activated_at"])
    _apply()


@transaction.atomic
def withdraw(version: BlueprintVersion) -> None:
    """Launch no sandboxes from this version any more, and activate no other one."""
    version.is_active = False
    version.save(update_fields=["is_active"])
    _apply()


@transaction.atomic
def disable(name: str) -> None:
    """Allow no launches of the blueprint, and keep no sandboxes ready. Raises StateConflict."""
    pool, _ = Pool.objects.get_or_create(blueprint=name)
    if not Pool.objects.filter(pk=pool.pk, switched_off=False).update(switched_off=True):
        raise StateConflict(f"The blueprint {name} is already disabled.")
    _apply()


def _apply() -> None:
    """Apply the change in this process at once, and replace outdated sandboxes of the pool."""
    transaction.on_commit(config.reload)
    queue.enqueue(pool_tasks.reconcile_pools)
