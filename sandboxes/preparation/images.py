"""The images of a blueprint, or what takes their place in the runtime in use."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

from django.conf import settings

from sandboxes.blueprints import Blueprint
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.images.prepare import prepare_images
from sandboxes.runtime.docker.images.removal import remove_unused
from sandboxes.runtime.process.runtime import ProcessRuntime
from sandboxes.runtime.process.templates import TemplateBuild

SILENCE_SECONDS = 600
"""How long a build or a download may take without output."""

Log = Callable[[str], None]


def ensure(
    blueprint: Blueprint,
    log: Log,
    *,
    keep: Collection[str] = (),
    force: bool = False,
    pull: bool = False,
) -> None:
    """Make the images that are missing or out of date. Raises RuntimeFailure.

    `keep` has the ids of earlier images that are still needed. `force` makes all images again, and
    `pull` looks for newer ones in their registries.
    """
    if settings.SANDBOX_RUNTIME == "docker":
        build(blueprint, log, force=force, pull=pull)
    elif settings.SANDBOX_RUNTIME == "process":
        prepare_templates([blueprint], log, keep)


@contextmanager
def exclusive(blueprint: Blueprint, log: Log) -> Iterator[None]:
    """Let other commands that prepare the same folder wait until this block ends.

    Otherwise, each could remove images that the other one has just made.
    """
    descriptor = os.open(blueprint.path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"{blueprint.name}: waiting for another command that prepares it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def build(blueprint: Blueprint, log: Log, *, force: bool = False, pull: bool = False) -> None:
    """Pull or build the images of a blueprint on the engine. Raises RuntimeFailure."""
    prepare_images(_engine(), blueprint.name, blueprint.recipes, log, force=force, pull=pull)


def remove_old(blueprint: Blueprint, keep: Collection[str]) -> None:
    """Remove earlier images of a blueprint, except those with these ids. Raises RuntimeFailure."""
    if settings.SANDBOX_RUNTIME == "docker":
        remove_unused(_engine(), blueprint.images, keep)


def prepare_templates(
    blueprints: Iterable[Blueprint],
    log: Log,
    keep: Collection[str] = (),
    runtime: ProcessRuntime | None = None,
) -> None:
    """Prepare the templates of services that run as processes. Raises RuntimeFailure."""
    runtime = runtime or ProcessRuntime.from_settings()
    wanted = {
        image: TemplateBuild(image, one.files, one.requirements, one.command)
        for blueprint in blueprints
        for image, one in blueprint.preparations.items()
    }
    runtime.templates.ensure(wanted.values(), log, keep)


def _engine() -> EngineClient:
    return EngineClient(settings.DOCKER_HOST, SILENCE_SECONDS)
