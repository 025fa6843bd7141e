"""The blueprints in force: the active versions, and the version that a sandbox keeps.

Until a version has been prepared, the blueprints of the folder apply as they are. A version never
changes, so a process reads it once; `config` knows which ones are active.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import structlog

from sandboxes.blueprints import document, folders
from sandboxes.blueprints.blueprint import Blueprint
from sandboxes.models import BlueprintVersion, Sandbox, SavePoint
from sandboxes.models.runtime_settings import config

log = structlog.get_logger(__name__)

MAX_VERSIONS = 200
"""Versions that a process keeps in memory."""


class BlueprintNotFound(LookupError):
    """No active version of a blueprint has this name, or its document can't be read."""


class BlueprintChanged(BlueprintNotFound):
    """The blueprint needs a value that a sandbox launched with an earlier version doesn't have."""


def available() -> Mapping[str, Blueprint]:
    """Return all blueprints that sandboxes can be launched from, by name."""
    if config.active_versions is None:
        return folders.valid()
    return _read_versions(tuple(config.active_versions.items()))


def load(name: str) -> Blueprint:
    """Return a blueprint in force by name. Raises BlueprintNotFound."""
    try:
        return available()[name]
    except KeyError:
        raise BlueprintNotFound(
            f"There is no valid blueprint “{name}”. `manage.py blueprint list` shows the versions "
            "of all blueprints, and `manage.py check` the problems of their files."
        ) from None


def for_sandbox(sandbox: Sandbox) -> Blueprint:
    """Return the blueprint that the sandbox was launched with. Raises BlueprintNotFound.

    A sandbox from before the first version has the one in force.
    """
    if sandbox.blueprint_version_id:
        return read_version(sandbox.blueprint_version_id)
    return load(sandbox.blueprint)


def for_save_point(save_point: SavePoint) -> Blueprint:
    """Return the blueprint of the sandbox that was saved. Raises BlueprintNotFound."""
    if save_point.blueprint_version_id:
        return read_version(save_point.blueprint_version_id)
    return load(save_point.blueprint)


def find_for_sandbox(sandbox: Sandbox) -> Blueprint | None:
    """Return the blueprint that the sandbox was launched with; None if it is gone."""
    try:
        return for_sandbox(sandbox)
    except BlueprintNotFound:
        return None


@lru_cache(maxsize=MAX_VERSIONS)
def read_version(digest: str) -> Blueprint:
    """Return the blueprint of a version, whose images are pinned. Raises BlueprintNotFound."""
    version = BlueprintVersion.objects.filter(digest=digest).first()
    if version is None:
        raise BlueprintNotFound(f"The blueprint version {digest} doesn't exist.")
    try:
        blueprint = document.load(version.document)
    except document.UnreadableDocument as error:
        raise BlueprintNotFound(
            f"The version {version} was stored by another release, and can't be read ({error})."
        ) from error
    return replace(blueprint, version=digest, image_ids=version.images)


@lru_cache(maxsize=1)
def _read_versions(active: tuple[tuple[str, str], ...]) -> Mapping[str, Blueprint]:
    """Return the blueprints of these names and versions, without those that can't be read."""
    found = {}
    for name, digest in active:
        try:
            found[name] = read_version(digest)
        except BlueprintNotFound as error:
            log.warning("blueprint_unreadable", blueprint=name, error=str(error))
    return found
