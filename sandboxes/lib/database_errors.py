"""What to tell users about errors of the database."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator

from django.conf import settings
from django.db import InterfaceError, OperationalError

UNAVAILABLE = (OperationalError, InterfaceError)
"""Errors of Django for a database that doesn't respond or can't write."""
DISK_FULL = "53100"
"""SQLSTATE `disk_full` of PostgreSQL."""
PRIMARY_CODE = 0xFF
"""Mask of an error code of SQLite without its details."""
SMALLEST_WRITE_BYTES = 64 * 1024


def unavailable_reason(error: BaseException) -> str:
    """Return one sentence, without internals, on why the database can't be used."""
    if is_disk_full(error):
        return "The portal's disk is full."
    return "The database is unavailable."


def is_disk_full(error: BaseException) -> bool:
    """Return whether the error, or one that caused it, says that the disk is full."""
    return any(
        getattr(one, "sqlstate", "") == DISK_FULL
        or (isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT))
        or (isinstance(one, sqlite3.Error) and _is_sqlites_disk_full(one))
        for one in _causes(error)
    )


def _is_sqlites_disk_full(error: sqlite3.Error) -> bool:
    """Return whether the disk is full, which SQLite reports in several ways."""
    # Errors of its Python module have no code.
    code = getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        disk = os.statvfs(settings.VAR_DIR)
        has_no_files_left = disk.f_files > 0 and disk.f_favail == 0
        return disk.f_bavail * disk.f_frsize < SMALLEST_WRITE_BYTES or has_no_files_left
    return code == sqlite3.SQLITE_FULL


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
