"""The Python interpreter of services: the portal's, or a copy that other users can read."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandboxes.runtime.process.state_dir import TEMPLATES, StateDir

NOT_NEEDED = shutil.ignore_patterns(
    "site-packages", "test", "tests", "idlelib", "tkinter", "lib2to3", "turtledemo", "ensurepip",
    "config-*", "__pycache__",
)  # fmt: skip


def is_root() -> bool:
    return os.geteuid() == 0


@dataclass(frozen=True)
class Interpreter:
    """The portal's Python without its virtual environment; services have their own packages.

    As root, services run as other users. If Python is in root's home directory, as with pyenv, they
    need a copy elsewhere.
    """

    home: StateDir

    @property
    def program(self) -> str:
        return str(self._copy / "bin" / own_path().name) if self.is_copied else str(own_path())

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that a copy needs to find its shared libraries."""
        return {"LD_LIBRARY_PATH": str(self._copy / "lib")} if self.is_copied else {}

    @property
    def is_copied(self) -> bool:
        return is_root() and not is_world_reachable(own_path())

    def words(self, command: Sequence[str]) -> list[str]:
        """Return a blueprint's command with `python` replaced by this interpreter."""
        first, *rest = command
        return [self.program if first == "python" else first, *rest]

    def ensure(self) -> None:
        """Copy the interpreter if a copy is needed and missing."""
        if not self.is_copied or self._copy.exists():
            return
        draft = self._copy.with_name(f"draft-{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        (draft / "bin").mkdir(parents=True)
        shutil.copy2(own_path(), draft / "bin")
        library = Path(os.__file__).parent
        shutil.copytree(library, draft / "lib" / library.name, ignore=NOT_NEEDED)
        for shared in library.parent.glob("libpython*.so*"):
            shutil.copy2(shared, draft / "lib")
        for directory in (self._copy.parent.parent, self._copy.parent, draft):
            directory.chmod(0o755)
        draft.rename(self._copy)

    @property
    def _copy(self) -> Path:
        version = hashlib.sha256(f"{own_path()} {sys.version}".encode()).hexdigest()[:16]
        return self.home.root / TEMPLATES / "python" / version


def own_path() -> Path:
    return Path(os.path.realpath(sys.executable))


def is_world_reachable(path: Path) -> bool:
    """Return whether every user can reach the file."""
    return all(directory.stat().st_mode & stat.S_IXOTH for directory in path.parents)
