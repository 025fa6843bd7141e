"""Memory and CPU time of the portal's own processes."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.bench.environment import HOST, PortalEnvironment
from tests.bench.http_client import HttpClient
from tests.bench.launching import run_parallel
from tests.harness.portal import Portal
from tests.helpers.wait import wait_for

NAMES = {"gunicorn": "web", "celery": "worker", "reap_sandboxes": "reaper"}
PAGES = ("/", "/history/", "/tokens/", "/webhooks/", "/api/v1/docs")
CONNECTIONS, VISITS = 8, 3
MIN_CPU_SECONDS = 0.2
"""Of a process that has responded with each page more than once."""
SETTLE_SECONDS = 5
USER_TICKS = 13
SYSTEM_TICKS = 14
"""Fields of /proc/PID/stat, counted from the process id as 0."""


def memory_when_idle(env: PortalEnvironment) -> dict[str, float]:
    """Return MB of the portal's processes by name, as PSS, which counts shared pages once.

    All processes of `web` have responded with pages before.
    """
    cookie = env.session("developer")
    began = _worker_cpu(env.portal)

    def load_pages(_: int) -> None:
        browser = HttpClient(HOST, env.portal.port, Cookie=cookie)
        for path in PAGES * VISITS:
            browser.get(path)
        browser.close()

    def have_responded() -> bool:
        run_parallel(load_pages, CONNECTIONS)
        used = _worker_cpu(env.portal)
        return all(used[pid] > began[pid] + MIN_CPU_SECONDS for pid in used)

    wait_for(have_responded, "all processes of web respond with pages")
    time.sleep(SETTLE_SECONDS)
    sizes: Counter[str] = Counter()
    for pid, name in _processes(env.portal):
        sizes[name] += _pss(pid)
    return dict(sizes)


def _worker_cpu(portal: Portal) -> dict[int, float]:
    """Return the CPU time by process of `web`, without the one that starts the others."""
    first, *workers = [pid for pid, name in _processes(portal) if name == "web"]
    return {pid: _cpu_seconds(pid) for pid in workers or [first]}


def web_cpu_seconds(portal: Portal) -> float:
    """Return the CPU time, user and system, that the processes of `web` have used so far."""
    return sum(_cpu_seconds(pid) for pid, name in _processes(portal) if name == "web")


def _processes(portal: Portal) -> Iterator[tuple[int, str]]:
    for pid in _process_tree(portal.pid):
        command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        yield pid, next((name for word, name in NAMES.items() if word in command), "honcho")


def _process_tree(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return [pid, *(one for child in children for one in _process_tree(child))]


def _pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _cpu_seconds(pid: int) -> float:
    # The name of the process may contain spaces; it ends with the last bracket.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    offset = 2  # The process id and the name come before.
    ticks = int(fields[USER_TICKS - offset]) + int(fields[SYSTEM_TICKS - offset])
    return ticks / os.sysconf("SC_CLK_TCK")
