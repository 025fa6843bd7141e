"""Which engine gets a new sandbox. Only rows are read, so it takes no engine call.

The caller holds the launch lock, so that counting and placing are one step.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sandboxes import blueprints
from sandboxes.blueprints import Blueprint
from sandboxes.core import capacity
from sandboxes.core.capacity import FreeCapacity
from sandboxes.core.fleet import Fleet
from sandboxes.lib import clock
from sandboxes.models import Engine, Sandbox

LONG_AGO = datetime.min.replace(tzinfo=UTC)


def eligible(fleet: Fleet, blueprint: Blueprint) -> list[Engine]:
    """Return the engines that get new sandboxes, match the blueprint and hold its images.

    If none holds them, return all that match: the launch then fails with the missing image's name.
    """
    images = blueprint.image_references
    matching = [one for one in fleet.open if one.matches(blueprint.engine_selector)]
    return [engine for engine in matching if engine.holds(images)] or matching


def missing_images(engine: Engine) -> list[str]:
    """Return the images of blueprints that the engine lacked at the last sweep."""
    wanted = {image for one in blueprints.available().values() for image in one.image_references}
    return sorted(wanted - {*engine.images}) if engine.images is not None else []


def candidates(blueprint: Blueprint, free: FreeCapacity) -> list[Engine]:
    """Return the engines that can take a sandbox of the blueprint, the least loaded first.

    That is the one with the most memory that no sandbox was promised, times its weight; of equal
    ones, the least recently used.
    """
    fitting = free.engines_for(blueprint.memory_mb)
    found = [
        engine
        for engine in eligible(free.fleet, blueprint)
        if engine.name in fitting and not capacity.engine_shortage(engine, blueprint.disk_mb)
    ]
    return least_loaded_first(found, free)


def another_engine(fleet: Fleet, sandbox: Sandbox, blueprint: Blueprint) -> Engine | None:
    """Return the best engine for a sandbox whose own one doesn't answer; None without one."""
    found = candidates(blueprint, capacity.free_capacity(fleet, moving=sandbox))
    others = (one for one in found if one.name != sandbox.engine_name and not one.away_since)
    return next(others, None)


def least_loaded_first(engines: Iterable[Engine], free: FreeCapacity) -> list[Engine]:
    return sorted(
        engines,
        key=lambda one: (
            -free.unpromised_mb(one) * one.weight,
            one.last_used_at or LONG_AGO,
            one.name,
        ),
    )


def record_use(fleet: Fleet, sandbox: Sandbox) -> None:
    """Record that an engine got a sandbox; nothing depends on it with a single engine."""
    if not fleet.is_single:
        fleet.engine_of(sandbox).store(last_used_at=clock.now())
