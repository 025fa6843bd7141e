"""A file that reserves disk space, so that sandboxes can be destroyed when the disk is full.

With SQLite, every request and every sweep writes to the disk of `VAR_DIR`. When it is full, the
file is deleted, and launches are refused until there is space again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import structlog
from django.conf import settings
from django.db import connection

log = structlog.get_logger(__name__)

MAX_BYTES = 16 * 1024 * 1024
MAX_SHARE = 1 / 16
"""Largest share of the disk that is reserved."""
MIN_FILES = 64
"""Number of new files, such as messages, below which the disk counts as full."""


def _file() -> Path:
    return Path(settings.VAR_DIR) / "disk-reserve"


def _is_needed() -> bool:
    return bool(connection.vendor == "sqlite")


def _space() -> tuple[int, int, int]:
    """Return the bytes to reserve, the bytes reserved, and the free bytes.

    On a disk without room for more files, no bytes are free. Some file systems have no limit.
    """
    disk = os.statvfs(settings.VAR_DIR)
    try:
        reserved = _file().stat().st_size
    except OSError:
        reserved = 0
    size = min(MAX_BYTES, int(disk.f_blocks * disk.f_frsize * MAX_SHARE))
    if disk.f_files > 0 and disk.f_favail < MIN_FILES:
        return size, reserved, 0
    return size, reserved, disk.f_bavail * disk.f_frsize


def is_full() -> bool:
    """Return whether only the reserve is left, so that nothing new should be stored."""
    if not _is_needed():
        return False
    size, reserved, free = _space()
    return reserved + free < 1.5 * size


def create() -> None:
    """Reserve the space, if it isn't reserved and the disk has twice as much to spare."""
    if not _is_needed():
        return
    with suppress(OSError):
        size, reserved, free = _space()
        if reserved < size and free > 3 * size:
            descriptor = os.open(_file(), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)


def release_if_full() -> None:
    """Delete the reserve if the disk has no space left for what the portal must write."""
    if not _is_needed():
        return
    with suppress(OSError):
        size, reserved, free = _space()
        if reserved and free < size / 4:
            _file().unlink()
            log.error("disk_full", directory=str(settings.VAR_DIR), free_bytes=free)
