"""Files that portals and process runtimes of one test process create once and share."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from sandboxes.runtime.process.state_dir import TEMPLATES


@cache
def _folder() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="portal-tests-shared-")).resolve()
    # Process sandboxes run as other users.
    directory.chmod(0o755)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


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
