"""What the proxy reports about its machine, which a portal elsewhere can't read itself.

Free memory, the disk of the engine's data root, traffic of bridges, usage of containers, addresses.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

MEMORY = Path("/proc/meminfo")
INTERFACES = Path("/proc/self/net/dev")
CGROUPS = Path("/sys/fs/cgroup")
MB = 1024 * 1024
SENT_COLUMN = 8
"""Of the bytes that the machine sent, among the counters of an interface."""


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


def has_address(address: str) -> bool:
    """Return whether ports can be published on an address: whether it is one of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def traffic() -> dict[str, dict[str, int]]:
    """Return the bytes of each interface, as the services behind a bridge see them."""
    found = {}
    try:
        lines = INTERFACES.read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        name, colon, counters = line.partition(":")
        if colon:
            values = counters.split()
            # The machine receives what services send.
            sent, received = int(values[0]), int(values[SENT_COLUMN])
            found[name.strip()] = {"ReceivedBytes": received, "SentBytes": sent}
    return found


def container_usage(container_id: str) -> dict[str, float] | None:
    """Return memory in MB and CPU seconds of a container, from control groups of version 1 or 2.

    Return None if they can't be read, or the container has ended.
    """
    for name in (f"docker/{container_id}", f"system.slice/docker-{container_id}.scope"):
        for read in (_usage_v1, _usage_v2):
            try:
                memory, idle, seconds = read(name)
            except (OSError, ValueError, KeyError):
                continue
            return {"MemoryMB": max(0, memory - idle) / MB, "CPUSeconds": seconds}
    return None


def _usage_v1(name: str) -> tuple[int, int, float]:
    memory = CGROUPS / "memory" / name
    used = int((memory / "memory.usage_in_bytes").read_text())
    idle = _entries(memory / "memory.stat")["total_inactive_file"]
    return used, idle, int((CGROUPS / "cpuacct" / name / "cpuacct.usage").read_text()) / 1e9


def _usage_v2(name: str) -> tuple[int, int, float]:
    group = CGROUPS / name
    used = int((group / "memory.current").read_text())
    idle = _entries(group / "memory.stat")["inactive_file"]
    return used, idle, _entries(group / "cpu.stat")["usage_usec"] / 1e6


def _entries(file: Path) -> dict[str, int]:
    pairs = (line.partition(" ") for line in file.read_text().splitlines())
    return {name: int(value) for name, _, value in pairs}
