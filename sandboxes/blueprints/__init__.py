"""The blueprints that this portal offers: each is a folder with a `compose.yaml` in it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from django.conf import settings

from sandboxes.blueprints.blueprint import Addresses, Blueprint, BuildSpec, addresses
from sandboxes.blueprints.loader import COMPOSE_FILE, Problem, load_blueprint

__all__ = [
    "Addresses",
    "Blueprint",
    "BlueprintNotFound",
    "BuildSpec",
    "Problem",
    "addresses",
    "available",
    "load",
    "problems",
]


class BlueprintNotFound(LookupError):
    """There is no valid blueprint of that name (any more)."""


def available() -> Mapping[str, Blueprint]:
    """All valid blueprints by name. One with problems is left out: the system check tells them."""
    return _loaded()[0]


def load(name: str) -> Blueprint:
    """The blueprint of that name. Raises BlueprintNotFound."""
    try:
        return available()[name]
    except KeyError:
        raise BlueprintNotFound(
            f"There is no valid blueprint “{name}” in {settings.SANDBOX_BLUEPRINTS_DIR}; "
            "`manage.py check` says what is wrong."
        ) from None


def problems() -> list[Problem]:
    """All that is wrong with the blueprints, those that can't be used and why."""
    return list(_loaded()[1])


def _loaded() -> tuple[Mapping[str, Blueprint], tuple[Problem, ...]]:
    return _load_all(
        Path(settings.SANDBOX_BLUEPRINTS_DIR), settings.SANDBOX_MEMORY_MB, settings.SANDBOX_CPUS
    )


@cache
def _load_all(
    folder: Path, memory_mb: int, cpus: float
) -> tuple[Mapping[str, Blueprint], tuple[Problem, ...]]:
    """Read once for each process: a changed blueprint takes effect with a restart."""
    valid: dict[str, Blueprint] = {}
    problems: list[Problem] = []
    for file in sorted(folder.glob(f"*/{COMPOSE_FILE}")):
        blueprint, found = load_blueprint(file.parent, memory_mb, cpus)
        problems += found
        if blueprint:
            valid[blueprint.name] = blueprint
    if not valid and not problems:
        remedy = f"Put a folder with a {COMPOSE_FILE} there, or correct SANDBOX_BLUEPRINTS_DIR."
        problems.append(Problem(folder, "", "There is no blueprint here.", remedy))
    return valid, tuple(problems)
