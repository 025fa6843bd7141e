"""The folders with the blueprints' files, one for each blueprint, with a `compose.yaml` in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import structlog
from django.conf import settings

from sandboxes.blueprints.blueprint import Blueprint
from sandboxes.blueprints.compose.findings import sentence
from sandboxes.blueprints.loader import (
    SHIPPED,
    Inspection,
    Problem,
    find_compose_file,
    inspect,
)
from sandboxes.lib.text import printable

log = structlog.get_logger(__name__)

PROBLEMS_REUSED_SECONDS = 5
TRIAL_PREFIX = "try-"
"""How the names of blueprints begin while they are tried, which gives them their own images."""


@dataclass(frozen=True)
class Folders:
    """The valid blueprints by name, and the problems of the others."""

    valid: Mapping[str, Blueprint]
    problems: tuple[Problem, ...]


def read() -> Folders:
    """Read all blueprints from their files, as they are now."""
    return _read(*_settings())


def valid() -> Mapping[str, Blueprint]:
    """Return the valid blueprints by name, as they were when this process first asked."""
    return _first_read(*_settings()).valid


def problems() -> list[Problem]:
    """Return the problems of all invalid blueprints, as of at most a few seconds ago."""
    period = int(time.monotonic() / PROBLEMS_REUSED_SECONDS)
    return list(_recently_read(period, *_settings()).problems)


def directories() -> tuple[Path, ...]:
    """Return the directories with folders of blueprints; the last one has the site's own."""
    own = Path(settings.SANDBOX_BLUEPRINTS_DIR)
    if settings.SANDBOX_SHIPPED_BLUEPRINTS and own.resolve() != SHIPPED.resolve():
        return SHIPPED, own
    return (own,)


def _settings() -> tuple[tuple[Path, ...], int, float]:
    return directories(), settings.SANDBOX_MEMORY_MB, settings.SANDBOX_CPUS


def _read(directories: tuple[Path, ...], memory_mb: int, cpus: float) -> Folders:
    valid: dict[str, Blueprint] = {}
    problems: list[Problem] = []
    # By name, so that the site's own blueprint replaces the shipped one.
    found_folders = {}
    for path in (path for directory in directories for path in sorted(directory.glob("*/"))):
        try:
            if find_compose_file(path):
                found_folders[path.name] = path
        except OSError as error:
            what = f"The folder can't be read: {error.strerror}."
            problems.append(Problem(path, "", what, "Make it readable for the portal."))
    for own in found_folders.values():
        inspection = _inspect(own, memory_mb, cpus)
        found = [*inspection.problems, *name_problems(own, own.name)]
        problems += found
        if (blueprint := inspection.blueprint) and not found:
            valid[blueprint.name] = blueprint
    if not valid and not problems:
        remedy = "Add a folder with a compose.yaml, or correct SANDBOX_BLUEPRINTS_DIR."
        problems.append(Problem(directories[-1], "", "This folder contains no blueprint.", remedy))
    return Folders(valid, tuple(problems))


def name_problems(folder: Path, name: str) -> list[Problem]:
    """Return why blueprints can't have this name, although a trial can."""
    if not name.startswith(TRIAL_PREFIX):
        return []
    message = f"Names that begin with “{TRIAL_PREFIX}” are those of trials."
    return [Problem(folder, "", message, "Choose another name for the folder.")]


def inspect_folder(folder: Path, name: str = "") -> Inspection:
    """Return the blueprint in a folder, with all problems and notes."""
    _, memory_mb, cpus = _settings()
    return _inspect(folder, memory_mb, cpus, name)


def _inspect(folder: Path, memory_mb: int, cpus: float, name: str = "") -> Inspection:
    try:
        return inspect(folder, memory_mb, cpus, name)
    except Exception as error:
        # One blueprint must not keep the others, or a command, from working.
        log.exception("blueprint_not_loaded", folder=str(folder))
        what = printable(sentence(f"The files can't be loaded: {type(error).__name__}: {error}"))
        problem = Problem(folder, "", what, "Simplify them, and report this as a bug.")
        return Inspection(None, [problem], [])


@cache
def _first_read(directories: tuple[Path, ...], memory_mb: int, cpus: float) -> Folders:
    return _read(directories, memory_mb, cpus)


@lru_cache(maxsize=1)
def _recently_read(
    _period: int, directories: tuple[Path, ...], memory_mb: int, cpus: float
) -> Folders:
    return _read(directories, memory_mb, cpus)
