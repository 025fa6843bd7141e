"""Files that the portals and process runtimes of a test run create once and share.

`make test` sets TESTS_SHARED_FILES for all of its processes; otherwise, each process has its own.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sandboxes.runtime.process.state_dir import TEMPLATES


@cache
def _folder() -> Path:
    if given := os.environ.get("TESTS_SHARED_FILES"):
        directory = Path(given).resolve()
    else:
        directory = Path(tempfile.mkdtemp(prefix="portal-tests-shared-")).resolve()
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
    # Process sandboxes run as other users.
    directory.chmod(0o755)
    return directory


@contextmanager
def creating_shared() -> Iterator[None]:
    """Let one process at a time create shared files."""
    with (_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def link_shared(place: Path, name: str) -> None:
    """Link the directory `place` to the shared one of this name."""
    shared = _folder() / name
    shared.mkdir(mode=0o755, parents=True, exist_ok=True)
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    place.symlink_to(shared)


def share_interpreter(home: Path) -> None:
    """Share the copy of Python with a home that prepares its own templates."""
    link_shared(home / TEMPLATES / "python", f"{TEMPLATES}/python")


def share_templates(home: Path) -> None:
    """Share all templates."""
    link_shared(home / TEMPLATES, TEMPLATES)
