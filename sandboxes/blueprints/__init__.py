"""The blueprints of this portal: one folder each, with a `compose.yaml` in it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from django.conf import settings

from sandboxes.blueprints.blueprint import Addresses, Blueprint, addresses
from sandboxes.blueprints.loader import COMPOSE_FILE, Problem, load_blueprint

__all__ = [
    "Addresses",
    "Blueprint",
    "BlueprintChanged",
    "BlueprintNotFound",
    "Problem",
    "addresses",
    "available",
    "load",
    "problems",
]


class BlueprintNotFound(LookupError):
    """No valid blueprint has this name; it may have been removed since."""


class BlueprintChanged(BlueprintNotFound):
    """The blueprint needs a value that a sandbox launched with an earlier version doesn't have."""


def available() -> Mapping[str, Blueprint]:
    """Return all valid blueprints by name; the system check reports the invalid ones."""
    return _loaded()[0]


def load(name: str) -> Blueprint:
    """Return a blueprint by name. Raises BlueprintNotFound."""
    try:
        return available()[name]
    except KeyError:
        raise BlueprintNotFound(
            f"There is no valid blueprint “{name}” in {settings.SANDBOX_BLUEPRINTS_DIR}. "
            "Run `manage.py check` to see the problems."
        ) from None


def problems() -> list[Problem]:
    """Return the problems of all invalid blueprints."""
    return list(_loaded()[1])


def _loaded() -> tuple[Mapping[str, Blueprint], tuple[Problem, ...]]:
    return _load_all(
        Path(settings.SANDBOX_BLUEPRINTS_DIR), settings.SANDBOX_MEMORY_MB, settings.SANDBOX_CPUS
    )


@cache
def _load_all(
    folder: Path, memory_mb: int, cpus: float
) -> tuple[Mapping[str, Blueprint], tuple[Problem, ...]]:
    """Load all blueprints, once per process: a changed blueprint takes effect with a restart."""
    valid: dict[str, Blueprint] = {}
    problems: list[Problem] = []
    for file in sorted(folder.glob(f"*/{COMPOSE_FILE}")):
        blueprint, new_problems = load_blueprint(file.parent, memory_mb, cpus)
        problems += new_problems
        if blueprint:
            valid[blueprint.name] = blueprint
    if not valid and not problems:
        remedy = f"Add a folder with a {COMPOSE_FILE}, or correct SANDBOX_BLUEPRINTS_DIR."
        problems.append(Problem(folder, "", "This folder contains no blueprint.", remedy))
    return valid, tuple(problems)
