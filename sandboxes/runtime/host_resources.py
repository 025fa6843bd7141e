"""What is left on the machine that runs the sandboxes."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

MB = 1024 * 1024
MIN_FREE_INODES = 0.02
MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class HostResources:
    """Of what an operator has to know before it runs out; None where it can't be told."""

    disk_total_mb: int | None = None
    disk_free_mb: int | None = None
    """Of the file system that holds the sandboxes."""
    subnets_taken: int | None = None
    """How many /28 of `SANDBOX_SUBNETS` are in use, by whomever."""
    memory_available_mb: int | None = None
    """What could be had without swapping."""


def disk_space(folder: str | Path) -> tuple[int | None, int | None]:
    """MB in all and free on the file system of the folder; None where that can't be told.

    With hardly any inode left, as after very many small files, nothing is free.
    """
    try:
        found, inodes = shutil.disk_usage(folder), os.statvfs(folder)
    except OSError:
        return None, None
    used_up = inodes.f_files and inodes.f_favail < MIN_FREE_INODES * inodes.f_files
    return found.total // MB, 0 if used_up else found.free // MB


def available_memory() -> int | None:
    """MB of this machine's memory that could be had now; None where that can't be told."""
    try:
        lines = MEMINFO.read_text().splitlines()
        facts = dict(line.split(":", 1) for line in lines)
        return int(facts["MemAvailable"].split()[0]) // 1024
    except (OSError, ValueError, KeyError):
        return None
