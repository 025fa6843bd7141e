"""Kernel counters of a sandbox's resource usage, for an engine on this machine.

Reading the kernel's files takes microseconds. The socket proxy of a remote engine reads them there,
and adds them to the engine's lists. Without it, the engine's statistics take one call per
container. A sweep reads thousands of files, so paths are plain text here: `Path`
would take as long as the kernel.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandboxes.runtime.network_bytes import NetworkBytes

INTERFACES = "/sys/class/net"
CGROUPS = "/sys/fs/cgroup"
MAX_FILE_BYTES = 64 * 1024
MB = 1024 * 1024


@dataclass(frozen=True)
class CpuMemory:
    """Memory in MB and CPU time in seconds of one container."""

    memory_mb: float
    cpu_seconds: float


def bridge_bytes(bridge: str) -> NetworkBytes | None:
    """Return the bytes that passed a bridge between host and services; None if it isn't local.

    Frames from one service to another are forwarded, not received by the host, so they don't count.
    """
    if not bridge:
        return None
    counters = f"{INTERFACES}/{bridge}/statistics"
    try:
        # The counters are the host's: it receives the bytes that services send.
        return NetworkBytes(
            received=int(_read(f"{counters}/tx_bytes")), sent=int(_read(f"{counters}/rx_bytes"))
        )
    except OSError:
        return None


def proxied_bytes(network: Mapping[str, Any]) -> NetworkBytes | None:
    """Return the same of a network from the engine's list, as a socket proxy counts it."""
    if traffic := network.get("Traffic"):
        return NetworkBytes(int(traffic["ReceivedBytes"]), int(traffic["SentBytes"]))
    return None


def stats_network_bytes(stats: dict[str, Any]) -> NetworkBytes:
    """Return a container's bytes from the engine's statistics, including traffic among services."""
    networks = (stats.get("networks") or {}).values()
    return NetworkBytes(
        received=sum(network["rx_bytes"] for network in networks),
        sent=sum(network["tx_bytes"] for network in networks),
    )


def cgroup_usage(container_id: str) -> CpuMemory | None:
    """Return a container's usage from its control group; None if it isn't local.

    Supports cgroup v1 and v2, and the group names of the `cgroupfs` and the `systemd` driver.
    """
    for name in (f"docker/{container_id}", f"system.slice/docker-{container_id}.scope"):
        try:
            return _usage(name)
        except OSError:
            continue
    return None


def proxied_usage(container: Mapping[str, Any]) -> CpuMemory | None:
    """Return the same of a container from the engine's list, as a socket proxy reads it."""
    if usage := container.get("Usage"):
        return CpuMemory(float(usage["MemoryMB"]), float(usage["CPUSeconds"]))
    return None


def stats_usage(stats: dict[str, Any]) -> CpuMemory:
    """Return a container's usage from the engine's statistics."""
    memory = stats.get("memory_stats") or {}
    detail = memory.get("stats") or {}
    idle = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    cpu = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage", 0)
    return CpuMemory(max(0, memory.get("usage", 0) - idle) / MB, cpu / 1e9)


def _usage(name: str) -> CpuMemory:
    try:
        return _usage_v1(name)
    except FileNotFoundError:
        return _usage_v2(f"{CGROUPS}/{name}")


def _usage_v1(name: str) -> CpuMemory:
    memory = f"{CGROUPS}/memory/{name}"
    used = int(_read(f"{memory}/memory.usage_in_bytes"))
    idle = _entry(f"{memory}/memory.stat", b"total_inactive_file")
    nanoseconds = int(_read(f"{CGROUPS}/cpuacct/{name}/cpuacct.usage"))
    return CpuMemory(max(0, used - idle) / MB, nanoseconds / 1e9)


def _usage_v2(group: str) -> CpuMemory:
    used = int(_read(f"{group}/memory.current"))
    idle = _entry(f"{group}/memory.stat", b"inactive_file")
    microseconds = _entry(f"{group}/cpu.stat", b"usage_usec")
    return CpuMemory(max(0, used - idle) / MB, microseconds / 1e6)


def _entry(path: str, key: bytes) -> int:
    """Return a value of a file that has a key and a value in each line."""
    _, _, rest = (b"\n" + _read(path)).partition(b"\n" + key + b" ")
    return int(rest.partition(b"\n")[0])


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, MAX_FILE_BYTES)
    finally:
        os.close(file)
