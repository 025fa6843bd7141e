"""Fetch the files of a blueprint from a folder, an archive or a git repository, within bounds.

Sources aren't trusted: no file of them is executed, and nothing is written outside of the target.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from sandboxes.authoring.errors import AuthoringError
from sandboxes.blueprints.loader import IMPORT_RECORD

MB = 1024 * 1024
MAX_FILES = 20_000
MAX_BYTES = 512 * MB
MAX_SECONDS = 120.0
MAX_DEPTH = 50
COPY_BYTES = MB
IGNORED = frozenset({".git", ".venv", "__pycache__", IMPORT_RECORD})
"""Names of files and folders that aren't part of a blueprint."""


@dataclass
class Budget:
    """Counts what is written, and stops at the bounds."""

    max_files: int = MAX_FILES
    max_bytes: int = MAX_BYTES
    max_seconds: float = MAX_SECONDS
    files: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.max_seconds

    def add_file(self) -> None:
        """Count a file or folder. Raises AuthoringError."""
        self.files += 1
        if self.files > self.max_files:
            raise AuthoringError(
                f"The source has more than {self.max_files} files.",
                "Import only the folder with the Compose file, or an archive of it.",
            )
        self.check_time()

    def add_bytes(self, count: int) -> None:
        """Count the content of files. Raises AuthoringError."""
        self.bytes += count
        if self.bytes > self.max_bytes:
            raise AuthoringError(
                f"The source has more than {self.max_bytes // MB} MB.",
                "Move large data into an image.",
            )
        self.check_time()

    def require_room(self, size: int) -> None:
        """Refuse a file that is too large before any of it is written. Raises AuthoringError."""
        if self.bytes + size > self.max_bytes:
            self.add_bytes(size)

    def check_time(self) -> None:
        if time.monotonic() > self.deadline:
            raise AuthoringError(
                f"Reading the source took more than {self.max_seconds:.0f} seconds.",
                "Import a smaller source, such as the folder with the Compose file.",
            )


@dataclass
class Writer:
    """Writes files, folders and links below a folder, within a budget."""

    target: Path
    budget: Budget

    def folder(self, name: PurePosixPath) -> None:
        """Create a folder."""
        self._path(name).mkdir(mode=0o755, parents=True, exist_ok=True)

    def file(self, name: PurePosixPath, content: IO[bytes], *, executable: bool) -> None:
        """Write a regular file."""
        self.budget.add_file()
        path = self._path(name)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with path.open("xb") as file:
            while chunk := content.read(COPY_BYTES):
                self.budget.add_bytes(len(chunk))
                file.write(chunk)
        path.chmod(0o755 if executable else 0o644)

    def link(self, name: PurePosixPath, destination: str) -> None:
        """Write a symbolic link, which nothing is written through; see `check_links`."""
        self.budget.add_file()
        path = self._path(name)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.symlink_to(destination)

    def refuse(self, name: PurePosixPath) -> None:
        """Raise the error for something other than a file, a folder or a link."""
        raise AuthoringError(f"{name} isn't a regular file.", "Remove it from the source.")

    def _path(self, name: PurePosixPath) -> Path:
        """Return the path of an entry. Raises AuthoringError if it leaves the folder.

        Entries can't be written through a link that was written before.
        """
        parts = name.parts
        if name.is_absolute() or ".." in parts or "\\" in str(name) or len(parts) > MAX_DEPTH:
            raise AuthoringError(
                f"The path {str(name)[:200]} leads out of the source.", "Correct the source."
            )
        path = self.target
        for part in parts:
            if path.is_symlink():
                break
            path /= part
        else:
            return path
        raise AuthoringError(f"{name} is below a symbolic link.", "Correct the source.")


def copy_folder(source: Path, target: Path, budget: Budget) -> None:
    """Copy a folder, except for `IGNORED`. Raises AuthoringError."""
    writer = Writer(target, budget)

    def walk(folder: Path, below: PurePosixPath) -> None:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                if entry.name not in IGNORED:
                    copy(entry, below / entry.name)

    def copy(entry: os.DirEntry[str], name: PurePosixPath) -> None:
        if entry.is_symlink():
            writer.link(name, str(Path(entry.path).readlink()))
        elif entry.is_dir():
            budget.add_file()
            writer.folder(name)
            walk(Path(entry.path), name)
        elif entry.is_file():
            with Path(entry.path).open("rb") as content:
                status = entry.stat()
                budget.require_room(status.st_size)
                executable = bool(status.st_mode & stat.S_IXUSR)
                writer.file(name, content, executable=executable)
        else:
            writer.refuse(name)

    try:
        walk(source, PurePosixPath())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AuthoringError(
            f"{source} can't be copied: {reason}.", "Correct the source, or free disk space."
        ) from error


def check_links(folder: Path) -> None:
    """Raise AuthoringError if a symbolic link leads out of a folder."""
    boundary = folder.resolve()
    for place, folders, files in os.walk(folder):
        for path in (Path(place) / name for name in (*folders, *files)):
            if path.is_symlink() and not _stays(path, boundary):
                raise AuthoringError(
                    f"The symbolic link {path.relative_to(folder)} leads out of the folder.",
                    "Replace it by what it links to.",
                )


def _stays(path: Path, boundary: Path) -> bool:
    try:
        return path.resolve().is_relative_to(boundary)
    except (OSError, RuntimeError):
        return False


def remove_folder(folder: Path) -> None:
    """Remove a folder if it exists."""
    shutil.rmtree(folder, ignore_errors=True)
