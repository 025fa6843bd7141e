"""Blueprints: which versions are active, and whether their folders have changed since."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings

from sandboxes import blueprints
from sandboxes.blueprints import Blueprint, document, folders
from sandboxes.blueprints.limits import caps
from sandboxes.doctor.findings import Findings, ok, warning
from sandboxes.models import BlueprintVersion
from sandboxes.models.runtime_settings import config

PREPARE = "Run `manage.py blueprint prepare`."


def versions() -> Findings:
    """Check that what is launched is what the folders contain; Django's checks read their files."""
    config.refresh()
    active = {version.name: version for version in BlueprintVersion.objects.active()}
    if not active:
        words = "No blueprint is prepared: sandboxes follow changes of its files while they run."
        yield warning(words, PREPARE)
    for name, blueprint in folders.read().valid.items():
        version = active.get(name)
        if active and version is None:
            yield warning(f"The blueprint {name} has no active version.", PREPARE)
        elif version and document.digest(blueprint, version.images) != version.digest:
            yield warning(
                f"The files of {name} differ from the active version {version.short_digest}.",
                f"{PREPARE} To keep an earlier version, do nothing.",
            )
    yield from limits(blueprints.available().values())
    yield from root_services(blueprints.available().values())
    if active:
        yield ok(f"Active versions: {', '.join(str(active[name]) for name in sorted(active))}.")


def root_services(known: Iterable[Blueprint]) -> Findings:
    """Name the services that run as root, which an operator should know."""
    for blueprint in known:
        if not (names := ", ".join(one.name for one in blueprint.services if one.root)):
            continue
        if settings.SANDBOX_ROOT_SERVICES:
            words = f"Services of {blueprint.name} may run as their container's root: {names}."
            yield warning(words, "To change that, name users of the images in x-sandbox.users.")
        else:
            words = f"Launches of {blueprint.name} fail, since services run as root: {names}."
            yield warning(words, "Set SANDBOX_ROOT_SERVICES=true, or disable the blueprint.")


def limits(known: Iterable[Blueprint]) -> Findings:
    """Check that the portal's settings allow the limits of blueprints."""
    for blueprint in known:
        for excess in blueprint.excesses:
            yield warning(f"The blueprint {blueprint.name} isn't launched: {excess}", excess.remedy)
        for key, message in caps(blueprint.limits):
            remedy = "Raise the setting, or lower the limit in the blueprint."
            yield warning(f"The blueprint {blueprint.name}, {key}: {message}", remedy)
