"""The files of a blueprint: regular files below its folder, few and small."""

from __future__ import annotations

import hashlib
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandboxes.blueprints.compose.budget import Budget
from sandboxes.blueprints.compose.findings import Malformed
from sandboxes.blueprints.compose.reading.yaml_reader import read_yaml

MAX_BYTES = 256 * 1024
MAX_TOTAL_BYTES = 1024 * 1024
MAX_FILES = 50


@dataclass
class SourceFiles:
    """Reads the files of one blueprint, and remembers a digest of all that it read."""

    boundary: Path
    """The folder that no path may leave, symbolic links included."""
    read: dict[Path, str] = field(default_factory=dict)
    inclusions: int = 0
    budget: Budget = field(default_factory=Budget)
    documents: dict[Path, list[Any]] = field(default_factory=dict)

    def resolve(self, path: Path) -> Path:
        """Return a path without symbolic links, of what may be missing.

        Raises Malformed if it leaves the folder, or can't be followed or stored.
        """
        try:
            resolved = path.resolve()
            if not resolved.is_relative_to(self.boundary):
                raise Malformed(
                    "This path leads out of the blueprint's folder.",
                    f"Copy what it names into {self.boundary}.",
                )
            str(resolved).encode()
            with suppress(FileNotFoundError, NotADirectoryError):
                resolved.stat()
        except UnicodeEncodeError as error:
            message = "The name of this file, or of a folder above it, isn't in UTF-8."
            raise Malformed(message, "Rename it.") from error
        except (OSError, RuntimeError, ValueError) as error:
            raise Malformed(
                f"This path can't be followed: {_reason(error)}.", "Correct it."
            ) from error
        return resolved

    def check_size(self, path: Path) -> None:
        """Check a file that is read later. Raises Malformed if it is large, or no regular file."""
        _read(self.resolve(path))

    def text(self, path: Path) -> str:
        """Return the content of a file. Raises Malformed if it can't be read."""
        resolved = self.resolve(path)
        if resolved in self.read:
            return self.read[resolved]
        if len(self.read) >= MAX_FILES:
            raise Malformed(
                f"The blueprint consists of more than {MAX_FILES} files.", "Merge some of them."
            )
        text = _read(resolved)
        if sum(map(len, self.read.values())) + len(text) > MAX_TOTAL_BYTES:
            raise Malformed(
                f"The files of the blueprint have more than {MAX_TOTAL_BYTES // 1024} KB together.",
                "Shorten them.",
            )
        self.read[resolved] = text
        return text

    def yaml(self, path: Path) -> list[Any]:
        """Return the documents of a file. Raises Malformed if it can't be read."""
        text = self.text(path)
        if path not in self.documents:
            self.documents[path] = read_yaml(text, path, self.budget)
        return self.documents[path]

    def count_inclusion(self) -> None:
        """Count one inclusion of a file by another. Raises Malformed if there are too many."""
        self.inclusions += 1
        if self.inclusions > MAX_FILES:
            raise Malformed(
                f"Files include and extend each other more than {MAX_FILES} times.",
                "Write some of the services out in full.",
            )

    def digest(self) -> str:
        """Return a hash of the names and contents of all files that were read."""
        total = hashlib.sha256()
        for path in sorted(self.read):
            name = path.relative_to(self.boundary).as_posix()
            total.update(f"{len(name)} {len(self.read[path])} {name} {self.read[path]}".encode())
        return total.hexdigest()


def _read(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Malformed("This is not a regular file.", "Name a file.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise Malformed(
                f"The file is larger than {MAX_BYTES // 1024} KB.",
                "Shorten it; large data belongs into an image or a mounted folder.",
            )
        return content.decode("utf-8-sig")
    except OSError as error:
        remedy = (
            "Add it, or correct the path."
            if isinstance(error, FileNotFoundError)
            else ("Make it readable for the portal.")
        )
        raise Malformed(f"The file can't be read: {_reason(error)}.", remedy) from error
    except UnicodeDecodeError as error:
        raise Malformed("The file is not in UTF-8.", "Save it in UTF-8.") from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
