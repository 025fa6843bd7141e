"""What portals and process runtimes of one test process make once and then share."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from sandboxes.runtime.process.state_dir import TEMPLATES


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="portal-tests-shared-")).resolve()
    # Sandboxes that are processes run as other users.
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def share(place: Path, name: str) -> None:
    """Let the directory `place` be the same one wherever it is shared by this name."""
    shared = _folder() / name
    shared.mkdir(mode=0o755, parents=True, exist_ok=True)
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    place.symlink_to(shared)


def share_interpreter(home: Path) -> None:
    """The copy of Python that sandboxes run with, for a home that prepares images of its own."""
    share(home / TEMPLATES / "python", f"{TEMPLATES}/python")


def share_prepared(home: Path) -> None:
    """All that sandboxes start from."""
    share(home / TEMPLATES, TEMPLATES)
