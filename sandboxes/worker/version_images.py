"""Which versions of blueprints can be launched: those whose images an engine still has.

Preparing a blueprint removes images that are no longer needed, and operators remove others.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection
from functools import partial

from sandboxes.core.fleet import Fleet
from sandboxes.lib import clock
from sandboxes.models import BlueprintVersion
from sandboxes.runtime import call_engines, get_runtime


def record_missing_images(also: Collection[str] = (), fleet: Fleet | None = None) -> dict[str, str]:
    """Store which versions lack images, in one call of each engine.

    Return the ID of each image of these versions, and of those that are also named, on any engine.
    Raises RuntimeFailure if no engine answers.
    """
    rows = list(BlueprintVersion.objects.defer("document"))
    wanted = {*also, *(one for row in rows for one in row.images.values())}
    held = _held_images(fleet or Fleet.read(), sorted(wanted), store=bool(also))
    for row in rows:
        is_missing = not held.keys() >= {*row.images.values()}
        if is_missing != bool(row.images_missing_since):
            since = clock.now() if is_missing else None
            BlueprintVersion.objects.filter(pk=row.pk).update(images_missing_since=since)
    return held


def _held_images(fleet: Fleet, names: list[str], *, store: bool) -> dict[str, str]:
    """Return the ids of these images on any engine; `store` which engine holds which.

    Engines that are away are asked only if all are.
    """
    engines = [each for each in fleet.engines if each.away_since is None] or fleet.engines
    calls = {one.name: partial(get_runtime(one.connection).images, names) for one in engines}
    found, failures = call_engines(calls)
    for engine in engines:
        if store and engine.name in found and engine.images != found[engine.name]:
            engine.store(images=found[engine.name])
    if failures and not found:
        raise next(iter(failures.values()))
    return dict(ChainMap(*found.values()))
