"""Memory: of each sandbox by its control groups, and of the portal's processes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from docker import APIClient

from sandboxes.runtime.docker.names import INSTANCE, SANDBOX, SERVICE
from tests.bench.launching import side_by_side
from tests.portal import Portal

MB = 1024 * 1024


def of_sandboxes(engine: APIClient, instance: str) -> dict[str, dict[str, float]]:
    """MB of each service of each sandbox: the control group's usage without what the kernel
    could drop at once (inactive file pages), as `docker stats` shows it."""
    rows = engine.containers(filters={"label": f"{INSTANCE}={instance}"})
    sizes = side_by_side(lambda i: _size(engine, rows[i]["Id"]), len(rows), at_once=8)
    found: dict[str, dict[str, float]] = {}
    for row, size in zip(rows, sizes, strict=True):
        labels = row["Labels"]
        found.setdefault(labels[SANDBOX], {})[labels[SERVICE]] = size
    return found


def _size(engine: APIClient, container: str) -> float:
    memory = engine.stats(container, stream=False, one_shot=True)["memory_stats"]
    stats = memory["stats"]
    # The first name is version 1's, the second version 2's.
    droppable = stats.get("total_inactive_file", stats.get("inactive_file", 0))
    return float(memory["usage"] - droppable) / MB


def of_processes(portal: Portal) -> dict[str, float]:
    """MB of the portal's processes by name: PSS, in which what several share is counted once."""
    found: Counter[str] = Counter()
    for pid in _family(portal.pid):
        command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        found[_name(command)] += _pss(pid)
    return dict(found)


def _family(pid: int) -> list[int]:
    """The process, its children, theirs and so on."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return [pid, *(one for child in children for one in _family(child))]


def _name(command: str) -> str:
    names = {"gunicorn": "web", "celery": "worker", "reap_sandboxes": "reaper"}
    return next((name for word, name in names.items() if word in command), "honcho")


def _pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def each(sizes: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The same as columns: all services of each sandbox together, and each service's own."""
    services = sorted({name for own in sizes.values() for name in own})
    return {
        "mb_each": [sum(own.values()) for own in sizes.values()],
        "services": {name: [own[name] for own in sizes.values()] for name in services},
    }
