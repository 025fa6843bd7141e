"""Kernel counters of a sandbox's resource usage, for an engine on this machine.

Reading the kernel's files takes microseconds. The engine's statistics, used for a remote engine,
take one call per container.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandboxes.runtime.network_bytes import NetworkBytes

INTERFACES = Path("/sys/class/net")
CGROUPS = Path("/sys/fs/cgroup")
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
    counters = INTERFACES / bridge / "statistics"
    try:
        # The counters are the host's: it receives the bytes that services send.
        return NetworkBytes(
            received=_number(counters / "tx_bytes"), sent=_number(counters / "rx_bytes")
        )
    except OSError:
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
            return _usage_v2(CGROUPS / name) or _usage_v1(name)
        except OSError:
            continue
    return None


def stats_usage(stats: dict[str, Any]) -> CpuMemory:
    """Return a container's usage from the engine's statistics."""
    memory = stats.get("memory_stats") or {}
    detail = memory.get("stats") or {}
    idle = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    cpu = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage", 0)
    return CpuMemory(max(0, memory.get("usage", 0) - idle) / MB, cpu / 1e9)


def _usage_v2(group: Path) -> CpuMemory | None:
    if not (group / "memory.current").exists():
        return None
    used = _number(group / "memory.current") - _table(group / "memory.stat")["inactive_file"]
    return CpuMemory(max(0, used) / MB, _table(group / "cpu.stat")["usage_usec"] / 1e6)


def _usage_v1(name: str) -> CpuMemory:
    memory = CGROUPS / "memory" / name
    idle = _table(memory / "memory.stat")["total_inactive_file"]
    used = _number(memory / "memory.usage_in_bytes") - idle
    return CpuMemory(max(0, used) / MB, _number(CGROUPS / "cpuacct" / name / "cpuacct.usage") / 1e9)


def _number(file: Path) -> int:
    return int(file.read_text())


def _table(file: Path) -> dict[str, int]:
    pairs = (line.split() for line in file.read_text().splitlines())
    return {key: int(value) for key, value in pairs}
