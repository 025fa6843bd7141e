"""What the proxy tells of its machine: free memory and the disk of the engine's data root.

A portal in a container can't read them itself.
"""

from __future__ import annotations

import os
from pathlib import Path

MEMORY = Path("/proc/meminfo")
MB = 1024 * 1024


def resources(data_root: str) -> dict[str, int]:
    """Return available memory, disk space and inodes; what can't be read is left out."""
    return _memory() | _disk(data_root)


def _memory() -> dict[str, int]:
    try:
        facts = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
        return {"MemAvailableMB": int(facts["MemAvailable"].split()[0]) // 1024}
    except (OSError, ValueError, KeyError):
        return {}


def _disk(data_root: str) -> dict[str, int]:
    try:
        found = os.statvfs(data_root)
    except OSError:
        return {}
    return {
        "DiskTotalMB": found.f_blocks * found.f_frsize // MB,
        "DiskFreeMB": found.f_bavail * found.f_frsize // MB,
        "Inodes": found.f_files,
        "InodesFree": found.f_favail,
    }
