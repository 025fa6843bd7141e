"""What a service's process finds around it: its files, its packages, whom it runs as."""

from __future__ import annotations

import os
import pwd
import zlib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from sandboxes.runtime.process.interpreter import Interpreter, is_root

FIRST_USER, LAST_USER = 52_000, 59_999
"""Numbers that neither people nor packages of the usual systems get."""
PATH = "/usr/local/bin:/usr/bin:/bin"


def template_user() -> int | None:
    """Whom preparations run as where we are root, which PostgreSQL refuses to be."""
    return pwd.getpwnam("nobody").pw_uid if is_root() else None


def free_user(sandbox_id: str, taken: Collection[int]) -> int | None:
    """A user of the sandbox's own where we are root; None: services run as we do."""
    if not is_root():
        return None
    room = LAST_USER - FIRST_USER + 1
    first = zlib.crc32(sandbox_id.encode())
    for step in range(room):
        user = FIRST_USER + (first + step) % room
        if user not in taken and not _known(user):
            return user
    return template_user()


def _known(user: int) -> bool:
    with suppress(KeyError):
        pwd.getpwuid(user)
        return True
    return False


def chown_tree(path: Path, user: int | None) -> None:
    """Make a user the owner of a directory and all in it."""
    if user is None:
        return
    os.chown(path, user, user)
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(Path(folder, name), user, user, follow_symlinks=False)


def environment(python: Interpreter, prepared: Path, work: Path) -> dict[str, str]:
    """What every process finds in its environment, besides what its blueprint says."""
    return {
        "PATH": PATH,
        "HOME": str(work),
        "LANG": "C.UTF-8",
        "PYTHONPATH": f"{prepared / 'files'}{os.pathsep}{prepared / 'site-packages'}",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # One arena for all threads keeps the heap of a small process small.
        "MALLOC_ARENA_MAX": "1",
    } | python.environment
