"""The package of the command-line client, which the portal serves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from django.conf import settings


@dataclass(frozen=True)
class ClientPackage:
    """A wheel of the client."""

    file: Path

    @property
    def name(self) -> str:
        """The file name, such as `sandbox_client-1.2.0-py3-none-any.whl`."""
        return self.file.name

    @property
    def version(self) -> str:
        """The version, which is that of the portal."""
        return self.name.split("-")[1]

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 digest of the file, in hexadecimal."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


def folder() -> Path:
    """Return where the package is, next to the static files of this version of the portal."""
    return Path(settings.STATIC_ROOT) / "cli"


def current() -> ClientPackage | None:
    """Return the package; None if it has not been built."""
    newest = max(folder().glob("*.whl"), key=lambda file: file.stat().st_mtime, default=None)
    return ClientPackage(newest) if newest else None
