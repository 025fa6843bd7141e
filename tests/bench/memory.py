"""Memory of each sandbox by its cgroups."""

from __future__ import annotations

from typing import Any

from docker import APIClient

from sandboxes.runtime.docker.names import INSTANCE, SANDBOX, SERVICE
from tests.bench.launching import run_parallel

MB = 1024 * 1024


def of_sandboxes(engine: APIClient, instance: str) -> dict[str, dict[str, float]]:
    """Return MB by sandbox and service: cgroup usage less inactive file pages.

    The kernel can reclaim those at any time. `docker stats` computes it in the same way.
    """
    rows = engine.containers(filters={"label": f"{INSTANCE}={instance}"})
    usage = run_parallel(lambda i: _size(engine, rows[i]["Id"]), len(rows), concurrency=8)
    sizes: dict[str, dict[str, float]] = {}
    for row, size in zip(rows, usage, strict=True):
        labels = row["Labels"]
        sizes.setdefault(labels[SANDBOX], {})[labels[SERVICE]] = size
    return sizes


def _size(engine: APIClient, container: str) -> float:
    memory = engine.stats(container, stream=False, one_shot=True)["memory_stats"]
    stats = memory["stats"]
    # The first name is cgroup version 1's, the second version 2's.
    reclaimable = stats.get("total_inactive_file", stats.get("inactive_file", 0))
    return float(memory["usage"] - reclaimable) / MB


def columns(sizes: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Turn sizes by sandbox into series: one of whole sandboxes, and one for each service."""
    services = sorted({name for own in sizes.values() for name in own})
    return {
        "mb_per_sandbox": [sum(own.values()) for own in sizes.values()],
        "services": {name: [own[name] for own in sizes.values()] for name in services},
    }
