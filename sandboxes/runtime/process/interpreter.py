"""The Python that services run with: this one, or a copy of it that other users can reach."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandboxes.runtime.process.state_dir import PREPARED, StateDir

NOT_NEEDED = shutil.ignore_patterns(
    "site-packages", "test", "tests", "idlelib", "tkinter", "lib2to3", "turtledemo", "ensurepip",
    "config-*", "__pycache__",
)  # fmt: skip


def is_root() -> bool:
    return os.geteuid() == 0


@dataclass(frozen=True)
class Interpreter:
    """This Python without its virtual environment: services bring their own packages.

    Where we are root and Python lies in root's own directory, as pyenv has it, services run as
    users who can't reach it there.
    """

    home: StateDir

    @property
    def program(self) -> str:
        return str(self._copy / "bin" / own_path().name) if self.is_copied else str(own_path())

    @property
    def environment(self) -> dict[str, str]:
        """What a copy needs to find what it is linked with."""
        return {"LD_LIBRARY_PATH": str(self._copy / "lib")} if self.is_copied else {}

    @property
    def is_copied(self) -> bool:
        return is_root() and not make_world_readable(own_path())

    def words(self, command: Sequence[str]) -> list[str]:
        """A blueprint's command, in which `python` is this interpreter."""
        first, *rest = command
        return [self.program if first == "python" else first, *rest]

    def ensure(self) -> None:
        """Copy it if that is needed and was not done yet."""
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
        for folder in (self._copy.parent.parent, self._copy.parent, draft):
            folder.chmod(0o755)
        draft.rename(self._copy)

    @property
    def _copy(self) -> Path:
        version = hashlib.sha256(f"{own_path()} {sys.version}".encode()).hexdigest()[:16]
        return self.home.root / PREPARED / "python" / version


def own_path() -> Path:
    return Path(os.path.realpath(sys.executable))


def make_world_readable(path: Path) -> bool:
    """Whether every user can reach a file."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
