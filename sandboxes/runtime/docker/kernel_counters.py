"""What a sandbox consumes, read where it costs no engine call when the engine is on this machine.

The kernel's own files are read in microseconds; the engine's statistics, which serve for an engine
elsewhere, take a call for each container.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

INTERFACES = Path("/sys/class/net")
CGROUPS = Path("/sys/fs/cgroup")
MB = 1024 * 1024
SAMPLES_PER_STATS_CALL = 2
"""Ready checks are answered with about as many bytes as they have themselves."""


@dataclass(frozen=True)
class NetworkBytes:
    """Bytes to and from the services, over the host's side of their network."""

    received: int
    sent: int

    @property
    def activity_bytes(self) -> int:
        """What counts as activity: bytes sent, as far as somebody asked for them.

        A host announces itself on every new interface: some 400 bytes received in the first
        seconds, to which nobody answers. A service that talks to nobody (a metric that it tries to
        deliver) sends, and is not answered either.
        """
        return min(self.sent, SAMPLES_PER_STATS_CALL * self.received)


@dataclass(frozen=True)
class CpuMemory:
    """Memory in MB and CPU time in seconds of one container."""

    memory_mb: float
    cpu_seconds: float


def bridge_bytes(bridge: str) -> NetworkBytes | None:
    """What went over a bridge between the host and the services; None: it is not on this machine.

    Frames from one service to another are forwarded, not received by the host: not counted here.
    """
    if not bridge:
        return None
    counters = INTERFACES / bridge / "statistics"
    try:
        # Seen from the host: it receives what the services send.
        return NetworkBytes(
            received=_number(counters / "tx_bytes"), sent=_number(counters / "rx_bytes")
        )
    except OSError:
        return None


def stats_network_bytes(stats: dict[str, Any]) -> NetworkBytes:
    """The same of one container, by the engine's statistics (traffic among services included)."""
    networks = (stats.get("networks") or {}).values()
    return NetworkBytes(
        received=sum(network["rx_bytes"] for network in networks),
        sent=sum(network["tx_bytes"] for network in networks),
    )


def cgroup_usage(container_id: str) -> CpuMemory | None:
    """What a container uses, by its control group; None: it is not on this machine.

    Knows cgroup v1 and v2, with the names that the `cgroupfs` and the `systemd` driver give.
    """
    for name in (f"docker/{container_id}", f"system.slice/docker-{container_id}.scope"):
        try:
            return _load_v2(CGROUPS / name) or _load_v1(name)
        except OSError:
            continue
    return None


def stats_usage(stats: dict[str, Any]) -> CpuMemory:
    """The same, by the engine's statistics."""
    memory = stats.get("memory_stats") or {}
    detail = memory.get("stats") or {}
    idle = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    cpu = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage", 0)
    return CpuMemory(max(0, memory.get("usage", 0) - idle) / MB, cpu / 1e9)


def _load_v2(group: Path) -> CpuMemory | None:
    if not (group / "memory.current").exists():
        return None
    used = _number(group / "memory.current") - _table(group / "memory.stat")["inactive_file"]
    return CpuMemory(max(0, used) / MB, _table(group / "cpu.stat")["usage_usec"] / 1e6)


def _load_v1(name: str) -> CpuMemory:
    memory = CGROUPS / "memory" / name
    idle = _table(memory / "memory.stat")["total_inactive_file"]
    used = _number(memory / "memory.usage_in_bytes") - idle
    return CpuMemory(max(0, used) / MB, _number(CGROUPS / "cpuacct" / name / "cpuacct.usage") / 1e9)


def _number(file: Path) -> int:
    return int(file.read_text())


def _table(file: Path) -> dict[str, int]:
    pairs = (line.split() for line in file.read_text().splitlines())
    return {key: int(value) for key, value in pairs}
