"""What an image is built from: the files that the engine is sent, and a hash of them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from docker.utils.build import exclude_paths

from sandboxes.runtime import RuntimeFailure

REQUIREMENTS = "requirements.txt"
PACKAGES = "site-packages"
PYTHON = "3.11"
"""The Python of Debian bookworm, which the base image is."""
GLIBC = ("2014", "_2_17", "_2_28", "_2_31", "_2_34", "_2_35", "_2_36")
"""Wheels for these run on bookworm, whose C library is 2.36 (PEP 600)."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
RECIPE = "1"
"""Part of every hash; another one rebuilds all images after a change to how they are built."""


@dataclass(frozen=True)
class BuildContext:
    """The files below `root` that a Dockerfile may copy.

    Those are chosen by `<Dockerfile>.dockerignore` beside it or else by the root's
    `.dockerignore`, as BuildKit does. Where a requirements.txt lies beside the Dockerfile, its
    wheels come along, unpacked in `site-packages`: they are fetched on the host, which
    knows how to reach its package index.
    """

    root: Path
    dockerfile: Path

    @property
    def dockerfile_name(self) -> str:
        return self.dockerfile.relative_to(self.root).as_posix()

    @property
    def requirements(self) -> Path | None:
        file = self.dockerfile.parent / REQUIREMENTS
        return file if file.exists() else None

    def files(self) -> list[Path]:
        """All files that the engine is sent, in a fixed order."""
        paths = exclude_paths(str(self.root), self._ignored(), self.dockerfile_name)
        paths.discard(".dockerignore")
        return sorted(path for name in paths if (path := self.root / name).is_file())

    def fingerprint(self, *more: str) -> str:
        """A hash of the files and their modes, of the requirements and of `more`."""
        digest = hashlib.sha256("\n".join([RECIPE, self.dockerfile_name, *more]).encode())
        wanted = [self.requirements] if self.requirements else []
        for file in [*self.files(), *wanted]:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            name = file.relative_to(self.root).as_posix()
            digest.update(f"\n{name} {mode_of(file):o} {content}".encode())
        return digest.hexdigest()

    def archive(self, architecture: str) -> IO[bytes]:
        """A tar archive of it all, for an engine of that architecture (`amd64`, `arm64`).

        Raises RuntimeFailure when the wheels can't be had.
        """
        archive = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        with (
            tempfile.TemporaryDirectory() as folder,
            tarfile.open(fileobj=archive, mode="w") as tar,
        ):
            for file in self.files():
                add(tar, file, file.relative_to(self.root))
            if self.requirements:
                fetch_wheels(self.requirements, Path(folder), architecture)
                for file in unpacked(Path(folder)):
                    add(tar, file, PACKAGES / file.relative_to(folder))
        archive.seek(0)
        return archive

    def _ignored(self) -> list[str]:
        own = self.dockerfile.with_name(f"{self.dockerfile.name}.dockerignore")
        for file in (own, self.root / ".dockerignore"):
            if file.exists():
                lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
                return [line for line in lines if line and not line.startswith("#")]
        return []


def mode_of(file: Path) -> int:
    """Whether it is executable is all that counts; the rest depends on who checked it out."""
    return 0o755 if file.stat().st_mode & 0o100 else 0o644


def add(tar: tarfile.TarFile, file: Path, name: Path) -> None:
    """Add a file as root's, with no date: the engine's cache must see the same file again."""
    info = tarfile.TarInfo(name.as_posix())
    info.size, info.mode = file.stat().st_size, mode_of(file)
    with file.open("rb") as content:
        tar.addfile(info, content)


def unpacked(folder: Path) -> Iterator[Path]:
    """What wheels consist of, less what only this host's Python made of it."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file


def fetch_wheels(requirements: Path, folder: Path, architecture: str) -> None:
    """Unpack the wheels of a requirements.txt with hashes. Raises RuntimeFailure."""
    machine = MACHINES.get(architecture, architecture)
    platforms = [f"--platform=manylinux{glibc}_{machine}" for glibc in GLIBC]
    done = subprocess.run(  # noqa: S603 - the command is our own
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--requirement", str(requirements), "--require-hashes", "--no-deps"),
            *("--target", str(folder), "--only-binary=:all:", f"--python-version={PYTHON}"),
            *platforms,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = " ".join(said[-1:]) or done.stderr.strip()[-300:]
        raise RuntimeFailure(f"The packages of {requirements} could not be fetched: {why}")
