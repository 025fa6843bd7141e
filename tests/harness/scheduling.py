"""Distribution of a run's tests over the workers of pytest-xdist.

All tests of a file run in the same worker, since they share fixtures. Slow files come first
(`tests.harness.selection`). Their tests mostly wait for engines, browsers and timeouts, so the last
of several workers runs quick files from the other end of the list meanwhile, and the processors are
never idle. While `TESTS_BESIDE` is the PID of a second run of tests, that run does this, and the
last worker begins afterwards.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import Any

import psutil
import pytest
from xdist import get_xdist_worker_id
from xdist.scheduler import LoadScopeScheduling

DIVIDED = "tests/browser/test_page_states.py"
"""Its tests share nothing but a browser and a server."""
RUNTIMES = {"process", "docker"}
"""Parameters of tests that have their own portal or harness."""


def work_unit(nodeid: str) -> str:
    """Return a name for the tests that one worker runs together."""
    path, _, test = nodeid.partition("::")
    name, *parameters = re.split(r"[\[\]-]", test)
    if path == DIVIDED:
        return f"{path}::{name}"
    return "::".join([path, *RUNTIMES.intersection(parameters)])


def is_last(worker: str, workers: int) -> bool:
    """Return whether the ID is that of the last of several workers."""
    return workers > 1 and worker == f"gw{workers - 1}"


class Scheduling(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return work_unit(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        if is_last(node.gateway.id, self.numnodes):
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Let the last worker wait until the second run of tests has ended."""
    beside = os.environ.get("TESTS_BESIDE")
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if beside and is_last(get_xdist_worker_id(session), workers):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(beside))
            # Its parent may look at the result later.
            while process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.2)
