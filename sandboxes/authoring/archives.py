"""Unpack archives (zip, and tar with any of Python's compressions) that aren't trusted."""

from __future__ import annotations

import lzma
import resource
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from sandboxes.authoring.errors import AuthoringError
from sandboxes.authoring.sources import IGNORED, MAX_BYTES, MB, Budget, Writer

MAX_ARCHIVE_BYTES = MAX_BYTES
MAX_MEMORY_BYTES = 256 * MB
"""Memory that unpacking may use in addition; headers of an archive can claim any size."""
INVALID = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)


def unpack(archive: Path, target: Path, budget: Budget) -> None:
    """Unpack an archive into a new folder. Raises AuthoringError."""
    try:
        if archive.stat().st_size > MAX_ARCHIVE_BYTES:
            raise AuthoringError(
                f"{archive} has more than {MAX_ARCHIVE_BYTES // MB} MB.",
                "Move large data into an image.",
            )
        with _limited_memory():
            writer = Writer(target, budget)
            if zipfile.is_zipfile(archive):
                _unpack_zip(archive, writer)
            else:
                _unpack_tar(archive, writer)
    except MemoryError:
        raise AuthoringError(
            f"{archive} needs more than {MAX_MEMORY_BYTES // MB} MB of memory to be unpacked.",
            "Unpack it, and import the folder.",
        ) from None
    except INVALID as error:
        raise AuthoringError(
            f"{archive} can't be unpacked: {type(error).__name__}: {str(error)[:200]}.",
            "Use a zip or tar archive, optionally compressed with gzip, bzip2 or xz.",
        ) from error
    except OSError as error:
        raise AuthoringError(
            f"{archive} can't be unpacked: {error.strerror or error}.",
            "Check the archive and the disk space.",
        ) from error


def _unpack_tar(archive: Path, writer: Writer) -> None:
    with tarfile.open(archive, "r:*") as tar:
        while member := tar.next():
            writer.budget.check_time()
            name = _name(member.name)
            if name is None:
                continue
            if member.isdir():
                writer.budget.add_file()
                writer.folder(name)
            elif member.issym():
                writer.link(name, member.linkname)
            elif member.isreg() and (content := tar.extractfile(member)):
                writer.budget.require_room(member.size)
                writer.file(name, content, executable=bool(member.mode & stat.S_IXUSR))
            else:
                writer.refuse(name)


def _unpack_zip(archive: Path, writer: Writer) -> None:
    with zipfile.ZipFile(archive) as container:
        for entry in container.infolist():
            name = _name(entry.filename)
            if name is None:
                continue
            mode = entry.external_attr >> 16
            if entry.is_dir():
                writer.budget.add_file()
                writer.folder(name)
            elif stat.S_ISLNK(mode):
                writer.link(name, container.read(entry)[:4096].decode(errors="replace"))
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                writer.refuse(name)
            else:
                writer.budget.require_room(entry.file_size)
                with container.open(entry) as content:
                    writer.file(name, content, executable=bool(mode & stat.S_IXUSR))


def _name(text: str) -> PurePosixPath | None:
    """Return the path of an entry; None if it isn't needed."""
    name = PurePosixPath(text)
    return None if not name.parts or IGNORED & {*name.parts} else name


@contextmanager
def _limited_memory() -> Iterator[None]:
    """Let the process use at most `MAX_MEMORY_BYTES` more than now; MemoryError is the result."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + MAX_MEMORY_BYTES
    allowed = [one for one in (limit, *before) if one != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(allowed), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
