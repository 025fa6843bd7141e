"""Versions of blueprints, prepared from their folders as they are now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Q

from sandboxes.actions import blueprint_versions
from sandboxes.blueprints import Blueprint, document
from sandboxes.lib import clock
from sandboxes.models import BlueprintVersion, Sandbox, SavePoint
from sandboxes.models.runtime_settings import config
from sandboxes.operators import audit
from sandboxes.operators.audit import CommandActor
from sandboxes.preparation import images
from sandboxes.preparation.images import Log
from sandboxes.runtime import ImageMissing, RuntimeFailure, get_runtime
from sandboxes.worker.version_images import record_missing_images

KEPT_FOR_ROLLBACK = 2
"""Versions of each blueprint, counted from the one activated last, whose images are kept."""


@dataclass(frozen=True)
class Prepared:
    """The version of a folder, and the one that is active now, if it is another."""

    version: BlueprintVersion
    other_active: BlueprintVersion | None


def prepare(
    blueprint: Blueprint,
    actor: CommandActor,
    log: Log,
    *,
    activate: bool = True,
    force: bool = False,
    pull: bool = False,
) -> Prepared:
    """Build the images of a blueprint and store its version; activate it if it has changed.

    A version that an operator chose instead of the folder's stays active until the folder changes.
    Other commands that prepare the same folder wait. Raises RuntimeFailure, OSError.
    """
    with images.exclusive(blueprint, log):
        images.ensure(blueprint, log, keep=needed_images(), force=force, pull=pull)
        return _activate(blueprint, actor, wanted=activate)


def _activate(blueprint: Blueprint, actor: CommandActor, *, wanted: bool) -> Prepared:
    """Store the version of a folder whose images are there; activate it if it has changed."""
    ids = get_runtime().images(blueprint.images)
    if missing := [name for name in blueprint.images if name not in ids]:
        raise ImageMissing(f"The engine doesn't have the image {', '.join(missing)}.")
    with transaction.atomic():
        version, has_changed = _store(blueprint, ids)
        # Locked, so that no operator activates a version meanwhile.
        rows = BlueprintVersion.objects.of(version.name).select_for_update()
        active = next((row for row in rows if row.is_active), None)
        other = None if active == version else active
        wanted = wanted and (active is None or (other is not None and has_changed))
        if wanted:
            audit.record(actor, "activate", version, f"Prepared from {blueprint.path}.")
            blueprint_versions.activate(version)
    with suppress(RuntimeFailure):  # What the engine keeps is removed the next time.
        images.remove_old(blueprint, needed_images() | set(version.images.values()))
        record_missing_images()
    oldest = clock.now() - timedelta(days=config.SANDBOX_RETENTION_DAYS)
    BlueprintVersion.objects.unused_since(oldest).delete()
    return Prepared(version, None if wanted else other)


def _store(blueprint: Blueprint, ids: Mapping[str, str]) -> tuple[BlueprintVersion, bool]:
    """Return the version of this content, and whether the folder had another one before."""
    digest = document.digest(blueprint, ids)
    last = BlueprintVersion.objects.of(blueprint.name).first()
    version, _ = BlueprintVersion.objects.update_or_create(
        digest=digest,
        defaults={"prepared_at": clock.now(), "images_missing_since": None},
        create_defaults={
            "name": blueprint.name,
            "document": document.dump(blueprint),
            "images": dict(ids),
            "prepared_at": clock.now(),
        },
    )
    if last is None:
        # Sandboxes from before the first version were launched from this folder.
        unversioned = Sandbox.objects.live().filter(blueprint=version.name, blueprint_version=None)
        unversioned.update(blueprint_version=version)
    return version, last is None or last.digest != digest


def withdraw_removed(present: Iterable[str], actor: CommandActor) -> list[BlueprintVersion]:
    """Deactivate the versions of blueprints that have no folder any more, and return them."""
    # Names of folders needn't be names of blueprints, which are all that a database can compare.
    names = {*present}
    active = BlueprintVersion.objects.active().order_by("name")
    removed = [version for version in active if version.name not in names]
    for version in removed:
        with transaction.atomic():
            audit.record(actor, "withdraw", version, "The folder of the blueprint was removed.")
            blueprint_versions.withdraw(version)
    return removed


def needed_images() -> set[str]:
    """Return the ids of images that sandboxes have, and of those that they may soon have.

    A save point has images of its own only for services that store data.
    """
    in_use = Q(digest__in=Sandbox.objects.live().values("blueprint_version")) | Q(
        digest__in=SavePoint.objects.kept().values("blueprint_version")
    )
    versions = list(BlueprintVersion.objects.filter(in_use))
    activated = BlueprintVersion.objects.exclude(activated_at=None).order_by("-activated_at")
    by_name: dict[str, list[BlueprintVersion]] = {}
    for version in activated:
        by_name.setdefault(version.name, []).append(version)
    versions += [one for some in by_name.values() for one in some[:KEPT_FOR_ROLLBACK]]
    return {image for version in versions for image in version.images.values()}
