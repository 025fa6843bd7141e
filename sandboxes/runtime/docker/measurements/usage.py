"""Memory, CPU time and network usage of running sandboxes at one moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from docker.errors import APIError

from sandboxes.runtime import NetworkBytes, Usage
from sandboxes.runtime.docker.client import (
    CONNECTION_POOL_SIZE,
    EngineClient,
    is_gone,
    run_parallel,
)
from sandboxes.runtime.docker.measurements.kernel_counters import (
    CpuMemory,
    bridge_bytes,
    cgroup_usage,
    stats_network_bytes,
    stats_usage,
)
from sandboxes.runtime.docker.names import SANDBOX, Names, label


@dataclass(frozen=True)
class UsageReader:
    """Reads usage with one call for the list of containers, and from the kernel.

    For an engine on another machine, it reads the engine's statistics instead.
    """

    engine: EngineClient
    names: Names

    def read(self, sandbox_ids: Sequence[str]) -> dict[str, Usage]:
        """Return the usage of the sandboxes that are running. Raises EngineUnreachable."""
        wanted, running = set(sandbox_ids), defaultdict(list)
        with self.engine.calling("list the containers") as client:
            for row in client.containers(filters=self.names.filters()):
                if label(row, SANDBOX) in wanted:
                    running[label(row, SANDBOX)].append(row["Id"])
        ids = [container_id for group in running.values() for container_id in group]
        local = {i: (usage, NetworkBytes(0, 0)) for i in ids if (usage := cgroup_usage(i))}
        remote = [i for i in ids if i not in local]
        asked = run_parallel([partial(self._ask, i) for i in remote], CONNECTION_POOL_SIZE)
        measured = local | dict(zip(remote, asked, strict=True))
        return {
            name: self._sum(name, [m for i in group if (m := measured[i])])
            for name, group in running.items()
        }

    def _ask(self, container_id: str) -> tuple[CpuMemory, NetworkBytes] | None:
        """Return a container's usage from the engine; None if it has ended since."""
        with self.engine.calling("measure a container") as client:
            try:
                stats: dict[str, Any] = client.stats(container_id, stream=False, one_shot=True)
            except APIError as error:
                if is_gone(error):
                    return None
                raise
        return stats_usage(stats), stats_network_bytes(stats)

    def _sum(self, sandbox_id: str, measured: list[tuple[CpuMemory, NetworkBytes]]) -> Usage:
        host_traffic = bridge_bytes(self.names.bridge(sandbox_id))
        measurements = [host_traffic] if host_traffic else [traffic for _, traffic in measured]
        return Usage(
            memory_mb=sum(usage.memory_mb for usage, _ in measured),
            cpu_seconds=sum(usage.cpu_seconds for usage, _ in measured),
            received_bytes=sum(traffic.received for traffic in measurements),
            sent_bytes=sum(traffic.sent for traffic in measurements),
        )
