"""Free resources of the machine that runs the sandboxes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

MB = 1024 * 1024
MIN_FREE_INODES = 0.02
MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class HostResources:
    """Resources that an operator must watch; None where unknown."""

    disk_total_mb: int | None = None
    disk_free_mb: int | None = None
    """Of the file system that holds the sandboxes."""
    subnets_taken: int | None = None
    """Number of /28 subnets of `SANDBOX_SUBNETS` in use, also by other programs."""
    memory_available_mb: int | None = None
    """Memory available without swapping."""


@dataclass(frozen=True)
class ProxyPolicy:
    """Where the socket proxy of an engine's machine lets sandboxes be published."""

    publish_address: str
    has_address: bool
    """Whether the machine has this address."""
    subnets: IPv4Network
    ports: range

    @classmethod
    def of(cls, host: Mapping[str, Any]) -> ProxyPolicy | None:
        """Return what `/info` says of it; None without a socket proxy, or with an older one."""
        if "BindAddress" not in host:
            return None
        first, _, last = host["Ports"].partition("-")
        return cls(
            host["BindAddress"],
            host["HasBindAddress"],
            IPv4Network(host["Subnets"]),
            range(int(first), int(last) + 1),
        )


def disk_space(folder: str | Path) -> tuple[int | None, int | None]:
    """Return total and free MB of the directory's file system; None where unknown.

    With hardly any inodes left, as after very many small files, no space counts as free.
    """
    try:
        found, inodes = shutil.disk_usage(folder), os.statvfs(folder)
    except OSError:
        return None, None
    used_up = are_used_up(inodes.f_files, inodes.f_favail)
    return found.total // MB, 0 if used_up else found.free // MB


def are_used_up(inodes: int, free: int) -> bool:
    """Return whether hardly any inodes are left; file systems without inodes report 0."""
    return free < MIN_FREE_INODES * inodes


def from_socket_proxy(host: Mapping[str, int], subnets_taken: int | None) -> HostResources:
    """Return what the socket proxy's `/info` says about its machine (`Host`)."""
    free = host.get("DiskFreeMB")
    if are_used_up(host.get("Inodes", 0), host.get("InodesFree", 0)):
        free = 0
    return HostResources(host.get("DiskTotalMB"), free, subnets_taken, host.get("MemAvailableMB"))


def available_memory() -> int | None:
    """Return the available memory of this machine in MB; None where unknown."""
    try:
        lines = MEMINFO.read_text().splitlines()
        facts = dict(line.split(":", 1) for line in lines)
        return int(facts["MemAvailable"].split()[0]) // 1024
    except (OSError, ValueError, KeyError):
        return None
