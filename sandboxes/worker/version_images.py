"""Which versions of blueprints can be launched: those whose images the engine still has.

Preparing a blueprint removes images that are no longer needed, and operators remove others.
"""

from __future__ import annotations

from collections.abc import Iterable

from sandboxes.lib import clock
from sandboxes.models import BlueprintVersion
from sandboxes.runtime import get_runtime


def record_missing_images(also: Iterable[str] = ()) -> dict[str, str]:
    """Store which versions lack images, in one call of the engine.

    Return the engine's ID of each image of these versions, and of those that are also named.
    Raises RuntimeFailure.
    """
    rows = list(BlueprintVersion.objects.defer("document"))
    wanted = {*also, *(one for row in rows for one in row.images.values())}
    held = get_runtime().images(sorted(wanted))
    for row in rows:
        is_missing = not held.keys() >= {*row.images.values()}
        if is_missing != bool(row.images_missing_since):
            since = clock.now() if is_missing else None
            BlueprintVersion.objects.filter(pk=row.pk).update(images_missing_since=since)
    return held
