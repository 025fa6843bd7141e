"""Surroundings of a service's process: its files, packages, environment variables and user."""

from __future__ import annotations

import os
import pwd
import zlib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from sandboxes.runtime.process.interpreter import Interpreter, is_root

FIRST_USER, LAST_USER = 52_000, 59_999
"""User IDs that neither people nor packages of common systems have."""
PATH = "/usr/local/bin:/usr/bin:/bin"


def template_user() -> int | None:
    """Return the user that prepares templates; PostgreSQL refuses to run as root."""
    return pwd.getpwnam("nobody").pw_uid if is_root() else None


def free_user(sandbox_id: str, taken: Collection[int]) -> int | None:
    """Return a user ID for the sandbox; None without root, where services run as this user."""
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
    for directory, directories, files in os.walk(path):
        for name in (*directories, *files):
            os.chown(Path(directory, name), user, user, follow_symlinks=False)


def environment(python: Interpreter, template: Path, work: Path) -> dict[str, str]:
    """Return the environment variables of every process, besides those of its blueprint."""
    return {
        "PATH": PATH,
        "HOME": str(work),
        "LANG": "C.UTF-8",
        "PYTHONPATH": f"{template / 'files'}{os.pathsep}{template / 'site-packages'}",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # One arena for all threads keeps the heap small.
        "MALLOC_ARENA_MAX": "1",
    } | python.environment
