"""Build context of an image: the files sent to the engine, and their hash."""

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

from sandboxes.runtime import ImageBuild, RuntimeFailure

PACKAGES = "site-packages"
PYTHON = "3.11"
"""The Python version of Debian bookworm, the base image."""
GLIBC = ("2014", "_2_17", "_2_28", "_2_31", "_2_34", "_2_35", "_2_36")
"""Wheels for these run on bookworm, which has glibc 2.36 (PEP 600)."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
RECIPE_VERSION = "1"
"""Part of every hash. Change it to rebuild all images after a change of the build procedure."""


@dataclass(frozen=True)
class BuildContext:
    """The files below `root` that a Dockerfile may copy.

    `<Dockerfile>.dockerignore` beside the Dockerfile, or else the root's `.dockerignore`, selects
    them, as in BuildKit. The wheels of `requirements` are included, unpacked in `site-packages`.
    They are downloaded on the host, which has access to its package index.
    """

    root: Path
    dockerfile: Path
    requirements: Path | None = None

    @classmethod
    def of(cls, build: ImageBuild) -> BuildContext:
        return cls(build.context, build.dockerfile, build.wheels)

    @property
    def dockerfile_name(self) -> str:
        return self.dockerfile.relative_to(self.root).as_posix()

    def files(self) -> list[Path]:
        """Return all files to send to the engine, in a fixed order."""
        paths = exclude_paths(str(self.root), self._ignored(), self.dockerfile_name)
        paths.discard(".dockerignore")
        return sorted(path for name in paths if (path := self.root / name).is_file())

    def fingerprint(self, *more: str) -> str:
        """Return a hash of the files, their modes, the requirements and `more`."""
        digest = hashlib.sha256("\n".join([RECIPE_VERSION, self.dockerfile_name, *more]).encode())
        wanted = [self.requirements] if self.requirements else []
        for file in [*self.files(), *wanted]:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            name = file.relative_to(self.root).as_posix()
            digest.update(f"\n{name} {mode_of(file):o} {content}".encode())
        return digest.hexdigest()

    def archive(self, architecture: str) -> IO[bytes]:
        """Return a tar archive for an engine of this architecture (`amd64`, `arm64`).

        Raises RuntimeFailure if the wheels can't be downloaded.
        """
        archive = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        with (
            tempfile.TemporaryDirectory() as directory,
            tarfile.open(fileobj=archive, mode="w") as tar,
        ):
            for file in self.files():
                add(tar, file, file.relative_to(self.root))
            if self.requirements:
                fetch_wheels(self.requirements, Path(directory), architecture)
                for file in wheel_files(Path(directory)):
                    add(tar, file, PACKAGES / file.relative_to(directory))
        archive.seek(0)
        return archive

    def _ignored(self) -> list[str]:
        specific = self.dockerfile.with_name(f"{self.dockerfile.name}.dockerignore")
        for file in (specific, self.root / ".dockerignore"):
            if file.exists():
                lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
                return [line for line in lines if line and not line.startswith("#")]
        return []


def mode_of(file: Path) -> int:
    """Return the file's mode, reduced to the executable bit: the rest depends on the checkout."""
    return 0o755 if file.stat().st_mode & 0o100 else 0o644


def add(tar: tarfile.TarFile, file: Path, name: Path) -> None:
    """Add a file owned by root and without a date, so that the engine's cache recognizes it."""
    info = tarfile.TarInfo(name.as_posix())
    info.size, info.mode = file.stat().st_size, mode_of(file)
    with file.open("rb") as content:
        tar.addfile(info, content)


def wheel_files(directory: Path) -> Iterator[Path]:
    """Yield the files of unpacked wheels, without bytecode of this host's Python."""
    for file in sorted(directory.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file


def fetch_wheels(requirements: Path, directory: Path, architecture: str) -> None:
    """Unpack the wheels of a requirements.txt with hashes. Raises RuntimeFailure."""
    machine = MACHINES.get(architecture, architecture)
    platforms = [f"--platform=manylinux{glibc}_{machine}" for glibc in GLIBC]
    done = subprocess.run(  # noqa: S603 - the command contains no user input
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--requirement", str(requirements), "--require-hashes", "--no-deps"),
            *("--target", str(directory), "--only-binary=:all:", f"--python-version={PYTHON}"),
            *platforms,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = " ".join(errors[-1:]) or done.stderr.strip()[-300:]
        raise RuntimeFailure(f"The packages of {requirements} couldn't be downloaded: {why}")
