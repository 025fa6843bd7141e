"""Build context of an image: the files sent to the engine, and their hash."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sandboxes.runtime import ImageBuild
from sandboxes.runtime.docker.images.errors import ImageError, one_line
from sandboxes.runtime.docker.images.folder_contents import FolderContents, unreadable
from sandboxes.runtime.docker.images.ignore_file import read_ignore_file, read_lines

IGNORE_FILE = ".dockerignore"
SEPARATE_DOCKERFILE = ".dockerfile.separate"
TOO_LARGE = "List what the image doesn't need in .dockerignore."
PACKAGES = "site-packages"
PYTHON = "3.11"
"""The Python version of Debian bookworm, the base image."""
GLIBC = ("2014", "_2_17", "_2_28", "_2_31", "_2_34", "_2_35", "_2_36")
"""Wheels for these run on bookworm, which has glibc 2.36 (PEP 600)."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
RECIPE_VERSION = "2"
"""Part of every hash. Change it to rebuild all images after a change of the build procedure."""


@dataclass(frozen=True)
class BuildContext:
    """The files that a Dockerfile may copy, as `docker build` sends them.

    `<Dockerfile>.dockerignore` beside the Dockerfile, or else the context's `.dockerignore`,
    selects them. Symbolic links stay links, directories may be empty.
    """

    build: ImageBuild

    @property
    def root(self) -> Path:
        return self.build.context

    @property
    def dockerfile_name(self) -> str:
        """Path of the Dockerfile in the archive, below the context."""
        if self._has_separate_dockerfile:
            return SEPARATE_DOCKERFILE
        return self.build.dockerfile.relative_to(self.root).as_posix()

    @property
    def _has_separate_dockerfile(self) -> bool:
        """Whether the Dockerfile isn't a file of the context, so that it can't be copied."""
        build = self.build
        return bool(build.dockerfile_inline) or not build.dockerfile.is_relative_to(build.context)

    @property
    def dockerfile_text(self) -> str:
        """The text of the Dockerfile. Raises ImageError if it can't be read."""
        if self.build.dockerfile_inline:
            return self.build.dockerfile_inline
        try:
            return self.build.dockerfile.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise unreadable(self.build.dockerfile, error) from error

    def paths(self) -> list[Path]:
        """Return the files, directories and links to send to the engine, in a fixed order.

        Raises ImageError if there are too many, or if something can't be read.
        """
        return self.contents().paths(self.root)[1:]

    def contents(self) -> FolderContents:
        """Return what finds the files of the context. Raises ImageError."""
        ignore_file = read_ignore_file(self._ignore_file, (self.dockerfile_name, IGNORE_FILE))
        return FolderContents(TOO_LARGE, ignore_file)

    def fingerprint(self, *more: str) -> str:
        """Return a hash of the files, their modes, the requirements and `more`.

        Raises ImageError if a file can't be read.
        """
        digest = hashlib.sha256("\n".join([RECIPE_VERSION, self.dockerfile_text, *more]).encode())
        for path in [*self.paths(), *([self.build.wheels] if self.build.wheels else [])]:
            name = path.relative_to(self.root).as_posix()
            digest.update(os.fsencode(f"\n{name} {describe(path)}"))
        return digest.hexdigest()

    def archive(self, architecture: str) -> IO[bytes]:
        """Return a tar archive for an engine of this architecture (`amd64`, `arm64`).

        Raises ImageError if a file can't be read or the wheels can't be downloaded.
        """
        archive = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        with (
            tempfile.TemporaryDirectory() as directory,
            tarfile.open(fileobj=archive, mode="w") as tar,
        ):
            for path in self.paths():
                add(tar, path, path.relative_to(self.root))
            if self._has_separate_dockerfile:
                add_text(tar, SEPARATE_DOCKERFILE, self.dockerfile_text)
                # The builder removes what this file names before a Dockerfile can copy it.
                add_text(
                    tar,
                    IGNORE_FILE,
                    "\n".join(
                        [
                            *(read_lines(self.root / IGNORE_FILE) or [IGNORE_FILE]),
                            SEPARATE_DOCKERFILE,
                        ]
                    ),
                )
            if self.build.wheels:
                fetch_wheels(self.build.wheels, Path(directory), architecture)
                for file in wheel_files(Path(directory)):
                    name = PACKAGES / file.relative_to(directory)
                    add(tar, file, name, mode=0o755 if file.stat().st_mode & 0o100 else 0o644)
        archive.seek(0)
        return archive

    @property
    def _ignore_file(self) -> Path:
        specific = self.build.dockerfile.with_name(f"{self.build.dockerfile.name}{IGNORE_FILE}")
        if specific.is_file() and not self.build.dockerfile_inline:
            return specific
        return self.root / IGNORE_FILE


def describe(path: Path) -> str:
    """Return the mode of a path, and the hash of a file or the target of a link."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return f"-> {path.readlink()}"
        content = ""
        if stat.S_ISREG(mode):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error
    return f"{mode:o} {content}"


def add(tar: tarfile.TarFile, path: Path, name: Path, mode: int | None = None) -> None:
    """Add a path owned by root and without a date, so that the engine's cache recognizes it."""
    try:
        found = path.lstat()
        info = tarfile.TarInfo(name.as_posix())
        info.mode = stat.S_IMODE(found.st_mode) if mode is None else mode
        if stat.S_ISDIR(found.st_mode):
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        elif stat.S_ISLNK(found.st_mode):
            info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
            tar.addfile(info)
        else:
            info.size = found.st_size
            with path.open("rb") as content:
                tar.addfile(info, content)
    except OSError as error:
        raise unreadable(path, error) from error


def add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    info, content = tarfile.TarInfo(name), text.encode()
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def wheel_files(directory: Path) -> Iterator[Path]:
    """Yield the files of unpacked wheels, without bytecode of this host's Python."""
    for file in sorted(directory.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file


def fetch_wheels(requirements: Path, directory: Path, architecture: str) -> None:
    """Unpack the wheels of a requirements.txt with hashes. Raises ImageError."""
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
        raise ImageError(
            f"The packages of {requirements} couldn't be downloaded: "
            f"{one_line(' '.join(errors[-1:]) or done.stderr[-300:])}.",
            "Check that this machine reaches its package index, and the hashes in the file.",
        )
