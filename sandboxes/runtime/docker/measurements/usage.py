"""Memory, CPU time and network usage of running sandboxes at one moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
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
    proxied_bytes,
    proxied_usage,
    stats_network_bytes,
    stats_usage,
)
from sandboxes.runtime.docker.names import SANDBOX, Names, label


@dataclass(frozen=True)
class UsageReader:
    """Reads usage with one call for the list of containers, and from the kernel.

    For an engine on another machine, two lists of its socket proxy have all that is needed; without
    the proxy, it reads the engine's statistics, container by container.
    """

    engine: EngineClient
    names: Names

    def read(self, sandbox_ids: Sequence[str]) -> dict[str, Usage]:
        """Return the usage of the sandboxes that are running. Raises EngineUnreachable."""
        wanted, running = set(sandbox_ids), defaultdict[str, list[dict[str, Any]]](list)
        with self.engine.calling("list the containers") as client:
            for row in client.containers(filters=self.names.filters()):
                if label(row, SANDBOX) in wanted:
                    running[label(row, SANDBOX)].append(row)
        rows = [row for group in running.values() for row in group]
        read = {
            row["Id"]: (usage, NetworkBytes(0, 0))
            for row in rows
            if (usage := cgroup_usage(row["Id"]) or proxied_usage(row))
        }
        others = [row["Id"] for row in rows if row["Id"] not in read]
        asked = run_parallel([partial(self._ask, i) for i in others], CONNECTION_POOL_SIZE)
        measured = read | dict(zip(others, asked, strict=True))
        bridges = self._bridges(running)
        return {
            name: _sum([m for row in group if (m := measured[row["Id"]])], bridges[name])
            for name, group in running.items()
        }

    def _bridges(self, sandbox_ids: Iterable[str]) -> dict[str, NetworkBytes | None]:
        """Return the traffic of each sandbox, from the kernel or else the socket proxy."""
        found = {name: bridge_bytes(self.names.bridge(name)) for name in sandbox_ids}
        if all(found.values()):
            return found
        with self.engine.calling("list the networks") as client:
            rows = client.networks(filters=self.names.filters())
        proxied = {label(row, SANDBOX): proxied_bytes(row) for row in rows}
        return {name: traffic or proxied.get(name) for name, traffic in found.items()}

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


def _sum(measured: Sequence[tuple[CpuMemory, NetworkBytes]], bridge: NetworkBytes | None) -> Usage:
    measurements = [bridge] if bridge else [traffic for _, traffic in measured]
    return Usage(
        memory_mb=sum(usage.memory_mb for usage, _ in measured),
        cpu_seconds=sum(usage.cpu_seconds for usage, _ in measured),
        received_bytes=sum(traffic.received for traffic in measurements),
        sent_bytes=sum(traffic.sent for traffic in measurements),
    )
