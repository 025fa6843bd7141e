"""Memory of each sandbox by its cgroups, and of the portal's processes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from docker import APIClient

from sandboxes.runtime.docker.names import INSTANCE, SANDBOX, SERVICE
from tests.bench.launching import run_parallel
from tests.harness.portal import Portal

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


def of_processes(portal: Portal) -> dict[str, float]:
    """Return MB of the portal's processes by name, as PSS, which counts shared pages once."""
    sizes: Counter[str] = Counter()
    for pid in _process_tree(portal.pid):
        command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        sizes[_name(command)] += _pss(pid)
    return dict(sizes)


def _process_tree(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return [pid, *(one for child in children for one in _process_tree(child))]


def _name(command: str) -> str:
    names = {"gunicorn": "web", "celery": "worker", "reap_sandboxes": "reaper"}
    return next((name for word, name in names.items() if word in command), "honcho")


def _pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def columns(sizes: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Turn sizes by sandbox into series: one of whole sandboxes, and one for each service."""
    services = sorted({name for own in sizes.values() for name in own})
    return {
        "mb_per_sandbox": [sum(own.values()) for own in sizes.values()],
        "services": {name: [own[name] for own in sizes.values()] for name in services},
    }
