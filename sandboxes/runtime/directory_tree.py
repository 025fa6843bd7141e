"""Directories whose contents are not trusted: their disk usage and removal, in bounded time.

Both work at any depth, also where paths are longer than the system accepts, and follow no links:
one directory is open at a time, and reached from its parent or from its last child.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Self

BLOCK_BYTES = 512
"""Unit of `st_blocks`."""
MB = 1024 * 1024
TOTAL_SECONDS = 1.0
GROUP_SECONDS = 2.0
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class DiskUsage:
    """Space and number of files, directories included; a lower bound unless `complete`."""

    megabytes: float
    files: int
    complete: bool = True


class _Position:
    """The open directory of a walk, and those between it and the top."""

    def __init__(self, path: Path) -> None:
        self.directory = os.open(path, OPEN_DIRECTORY)
        self._parents: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.directory)

    def enter(self, name: str) -> None:
        """Go to a subdirectory. Raises OSError, and stays where it is."""
        above = self._identity()
        self._go(name)
        self._parents.append(above)

    def leave(self) -> None:
        """Go to the parent. Raises OSError if the directory was moved meanwhile."""
        self._go("..")
        if self._identity() != self._parents.pop():
            raise OSError("the directory was moved")

    def _go(self, name: str) -> None:
        opened = os.open(name, OPEN_DIRECTORY, dir_fd=self.directory)
        os.close(self.directory)
        self.directory = opened

    def _identity(self) -> tuple[int, int]:
        found = os.fstat(self.directory)
        return found.st_dev, found.st_ino


def measure_all(paths: Mapping[str, Sequence[Path]]) -> dict[str, DiskUsage]:
    """Return the sums of several groups of directories, by name.

    A group that takes long can't delay the others for ever: after `TOTAL_SECONDS` no other group is
    begun, and the order is random, so that each is measured sooner or later. Groups with a
    directory that this process can't read are left out.
    """
    ends_at = monotonic() + TOTAL_SECONDS
    measured = {}
    for name in random.sample(sorted(paths), len(paths)):
        if monotonic() > ends_at:
            break
        with suppress(OSError):
            parts = [measure(path, GROUP_SECONDS / len(paths[name])) for path in paths[name]]
            measured[name] = DiskUsage(
                sum(part.megabytes for part in parts),
                sum(part.files for part in parts),
                all(part.complete for part in parts),
            )
    return measured


def measure(path: Path, seconds: float) -> DiskUsage:
    """Return what a directory takes on its file system, hard links counted once.

    Stops after `seconds`. Leaves out subdirectories that this process can't read. Raises OSError if
    it can't read the directory itself.
    """
    ends_at = monotonic() + seconds
    blocks, files = 0, 0
    linked: set[int] = set()
    for found in _walk(path):
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            if found.st_ino in linked:
                continue
            linked.add(found.st_ino)
        blocks += found.st_blocks
        files += 1
        if monotonic() > ends_at:
            return DiskUsage(blocks * BLOCK_BYTES / MB, files, complete=False)
    return DiskUsage(blocks * BLOCK_BYTES / MB, files)


def _walk(path: Path) -> Iterator[os.stat_result]:
    with _Position(path) as position:
        device = os.fstat(position.directory).st_dev
        pending = [list[str]()]
        yield from _entries(position.directory, device, pending[-1])
        while pending:
            if pending[-1]:
                with suppress(OSError):
                    position.enter(pending[-1].pop())
                    pending.append([])
                    yield from _entries(position.directory, device, pending[-1])
                continue
            pending.pop()
            if pending:
                try:
                    position.leave()
                except OSError:
                    return


def _entries(directory: int, device: int, subdirectories: list[str]) -> Iterator[os.stat_result]:
    """Yield the status of the entries; add names of directories on the same device to the list."""
    with os.scandir(directory) as entries:
        for entry in entries:
            # `suppress` would take as long as reading the status.
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(found.st_mode) and found.st_dev == device:
                subdirectories.append(entry.name)
            yield found


def remove(path: Path, seconds: float) -> None:
    """Remove a directory with all in it, or a file or link; nothing if it is missing.

    Another process may remove it at the same time. Raises OSError; TimeoutError after `seconds`,
    and what was removed until then stays removed.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    ends_at = monotonic() + seconds
    with suppress(FileNotFoundError):
        path.chmod(stat.S_IRWXU)
        with _Position(path) as position:
            _remove_contents(position, ends_at)
        path.rmdir()


def _remove_contents(position: _Position, ends_at: float) -> None:
    names: list[str] = []
    pending = [list(_remove_files(position.directory, ends_at))]
    while pending:
        if not pending[-1]:
            pending.pop()
            if names:
                position.leave()
                with suppress(FileNotFoundError):
                    os.rmdir(names.pop(), dir_fd=position.directory)
            continue
        name = pending[-1].pop()
        with suppress(FileNotFoundError):
            # Its owner may have taken every permission away, also from itself.
            os.chmod(name, stat.S_IRWXU, dir_fd=position.directory)
            position.enter(name)
            names.append(name)
            pending.append([])
            pending[-1] += _remove_files(position.directory, ends_at)


def _remove_files(directory: int, ends_at: float) -> Iterator[str]:
    """Remove the files of a directory and yield the names of its subdirectories.

    Raises OSError, TimeoutError.
    """
    with os.scandir(directory) as entries:
        for entry in entries:
            if monotonic() > ends_at:
                raise TimeoutError
            if entry.is_dir(follow_symlinks=False):
                yield entry.name
            else:
                with suppress(FileNotFoundError):
                    os.unlink(entry.name, dir_fd=directory)
