"""What folders of a blueprint put into an image, within bounds of number and size."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sandboxes.runtime.docker.images.errors import ImageError, one_line
from sandboxes.runtime.docker.images.ignore_file import IgnoreFile, Matches

MAX_FILES = 50_000
"""Files, directories and links of one image."""
MAX_BYTES = 1024**3
MAX_VISITED = 200_000
"""Files, directories and links that are examined, including those that stay out of the image."""
MAX_COMPARISONS = 1_000_000
"""Of paths with the patterns of a `.dockerignore`: about a second."""
MB = 1024**2


@dataclass
class FolderContents:
    """Finds what one image gets from folders, and counts it."""

    remedy: str
    """What to do if there is too much."""
    ignore_file: IgnoreFile = field(default_factory=IgnoreFile)
    special: list[Path] = field(default_factory=list)
    """FIFOs, sockets and devices, which no image gets."""
    files: int = 0
    size: int = 0
    """Bytes of the files."""
    visited: int = 0

    def paths(self, *sources: Path) -> list[Path]:
        """Return files, and folders with what they contain, each source in a fixed order.

        Links in folders aren't followed. Raises ImageError if something can't be read, or if the
        image gets too much.
        """
        return [
            source / name
            for source in sources
            for name in sorted(self._names(source), key=lambda name: name.split("/"))
        ]

    def count(self, *sources: Path) -> None:
        """Count files, and folders with what they contain, in less time. Raises ImageError."""
        for source in sources:
            deque(self._names(source), maxlen=0)

    def _names(self, source: Path) -> Iterator[str]:
        """Yield the paths of what an image gets, relative to the source, which itself is empty."""
        try:
            status = source.lstat()
            if self._counts(source, status):
                yield ""
            if stat.S_ISDIR(status.st_mode):
                yield from self._below(source)
        except OSError as error:
            raise unreadable(source, error) from error

    def _below(self, root: Path) -> Iterator[str]:
        pending: list[tuple[str, Matches]] = [("", ())]
        while pending:
            directory, above = pending.pop()
            with os.scandir(root / directory) as entries:
                for entry in entries:
                    name = f"{directory}{entry.name}"
                    self._visit(root)
                    matches = self.ignore_file.matches(name, above)
                    ignored = self.ignore_file.ignores(matches)
                    if not ignored and self._counts(root, entry.stat(follow_symlinks=False), name):
                        yield name
                    if entry.is_dir(follow_symlinks=False) and not (
                        ignored and not self.ignore_file.may_restore_below(name)
                    ):
                        pending.append((f"{name}/", matches))

    def _visit(self, root: Path) -> None:
        self.visited += 1
        if self.visited > MAX_VISITED:
            raise ImageError(
                f"There are more than {MAX_VISITED} files, the last ones in {root}.", self.remedy
            )
        if self.visited * self.ignore_file.comparisons > MAX_COMPARISONS:
            raise ImageError(
                f"The .dockerignore of {root} has too many patterns for as many files.",
                "Ignore whole folders, and write patterns with `!` one after the other.",
            )

    def _counts(self, root: Path, status: os.stat_result, name: str = "") -> bool:
        """Return whether an image can have a path, and count it."""
        mode = status.st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            self.special.append(root / name)
            return False
        self.files += 1
        self.size += status.st_size if stat.S_ISREG(mode) else 0
        if self.files > MAX_FILES or self.size > MAX_BYTES:
            raise ImageError(
                f"An image gets at most {MAX_FILES} files with {MAX_BYTES // MB} MB from folders; "
                f"{root} has more.",
                self.remedy,
            )
        return True


def unreadable(path: Path, error: Exception) -> ImageError:
    """Return the error for a file or folder that can't be read."""
    return ImageError(f"{path} can't be read: {one_line(error)}.", "Make it readable.")
