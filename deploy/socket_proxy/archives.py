"""Tar archives of files for a container: parsed, and written again from the parsed values."""

from __future__ import annotations

import io
import re
import tarfile

from socket_proxy.schema import require

MAX_MEMBERS = 100
FILE_NAME = r"(?:[A-Za-z0-9_@+.-][A-Za-z0-9_@+ .-]*/)*[A-Za-z0-9_@+.-][A-Za-z0-9_@+ .-]*"
MAX_NAME_LENGTH = 255
USER_DATABASES = ("etc/passwd", "etc/group")
"""Files from which the engine learns, when a container starts, which number its user has."""
SECRETS_DIRECTORY = "run/secrets"
MODE = 0o777
SECRETS_MODE = 0o1777


def rebuild(content: bytes) -> bytes:
    """Return an archive of the same files, which belong to root. Raises RequestDenied.

    Nothing but plain files is accepted, and the directory of secrets: no links, no devices, no
    set-user-ID files. What an extractor could understand in another way isn't forwarded.
    """
    rebuilt = io.BytesIO()
    try:
        with (
            tarfile.open(fileobj=io.BytesIO(content), mode="r:") as given,
            tarfile.open(fileobj=rebuilt, mode="w", format=tarfile.PAX_FORMAT) as new,
        ):
            for number, member in enumerate(given):
                require(number < MAX_MEMBERS, f"the archive has more than {MAX_MEMBERS} files")
                clean = _clean(member)
                file = given.extractfile(member) if member.isreg() else None
                new.addfile(clean, io.BytesIO(file.read()) if file else None)
    except (tarfile.TarError, ValueError, OSError, EOFError, OverflowError):
        require(False, "malformed archive")
    return rebuilt.getvalue()


def _clean(member: tarfile.TarInfo) -> tarfile.TarInfo:
    require(not member.issparse(), "sparse files aren't allowed")
    require(len(member.name) <= MAX_NAME_LENGTH, "the name of a file is too long")
    parts = member.name.split("/")
    valid = re.fullmatch(FILE_NAME, member.name, re.ASCII) and not {".", ".."} & set(parts)
    require(valid, "the name of a file isn't allowed")
    require(member.name not in USER_DATABASES, "the users of an image can't be changed")
    clean = tarfile.TarInfo(member.name)
    if member.isdir():
        require(member.name == SECRETS_DIRECTORY, "directories aren't allowed")
        clean.type, clean.mode = tarfile.DIRTYPE, SECRETS_MODE
        return clean
    require(member.type in (tarfile.REGTYPE, tarfile.AREGTYPE), "only plain files are allowed")
    require(member.mode & ~MODE == 0, "the mode of a file isn't allowed")
    clean.size, clean.mode = member.size, member.mode
    return clean
