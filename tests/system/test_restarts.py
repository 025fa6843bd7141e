"""Restarting web and worker one by one doesn't interrupt users who launch sandboxes."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from honcho.environ import parse_procfile

from tests.harness.portal import ROOT, Portal, running_portal
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.slow

TIMEOUT_SECONDS = 90
COMMANDS = parse_procfile((ROOT / "Procfile").read_text()).processes
# Passes the socket as a systemd socket unit does: requests wait in it while no process accepts.
INHERIT_SOCKET = "exec 3<&{fd} && export LISTEN_FDS=1 LISTEN_PID=$$ && "


class Processes:
    """The portal's processes, started separately as systemd does."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.socket = socket.create_server(("127.0.0.1", portal.port), backlog=64)
        self.socket.set_inheritable(True)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        prefix = INHERIT_SOCKET.format(fd=self.socket.fileno()) if name == "web" else ""
        with (self.portal.var / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                ["bash", "-c", prefix + COMMANDS[name]],
                cwd=ROOT,
                env=self.portal.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[self.socket.fileno()],
            )

    def stop(self, name: str) -> int:
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=TIMEOUT_SECONDS)

    def restart(self, name: str) -> None:
        assert self.stop(name) == 0
        self.start(name)

    def close(self) -> None:
        for name in list(self.running):
            self.stop(name)
        self.socket.close()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    settings = {
        "SANDBOX_RUNTIME": "process",
        # Sandboxes of one small process.
        "SANDBOX_BLUEPRINTS_DIR": str(ROOT / "tests" / "products"),
        "SANDBOX_DEFAULT_BLUEPRINT": "notes",
        "WEB_GRACEFUL_SECONDS": "60",
        "REAPER_SECONDS": "2",
    }
    with running_portal(tmp_path, (), **settings) as portal, closing(Processes(portal)) as started:
        for name in ("web", "worker", "reaper"):
            started.start(name)
        yield started


class Developer:
    """Launches and destroys sandboxes in a loop, without retrying requests."""

    def __init__(self, portal: Portal, name: str) -> None:
        self.base = f"http://127.0.0.1:{portal.port}/api/v1"
        self.headers = {"Authorization": f"Bearer {portal.accounts[name]['token']}"}
        self.launches = 0

    def ask(self, method: str, path: str, **options: str) -> dict[str, Any]:
        """Send a request on a new connection, so that none is closed for being idle."""
        headers = self.headers | options
        answer = httpx2.request(method, self.base + path, headers=headers, timeout=TIMEOUT_SECONDS)
        assert answer.is_success, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def work(self, done: threading.Event) -> None:
        while not done.is_set():
            sandbox = self.ask("POST", "/sandboxes", Prefer="wait=60")
            assert sandbox["state"] == "running", sandbox
            self.launches += 1
            path = f"/sandboxes/{sandbox['id']}"
            self.ask("DELETE", path)
            wait_for(partial(self.is_destroyed, path), "it is destroyed", TIMEOUT_SECONDS, 0.05)

    def is_destroyed(self, path: str) -> bool:
        return bool(self.ask("GET", path)["state"] == "destroyed")


def has_progressed(
    developers: list[Developer], targets: list[int], work: list[Future[None]]
) -> bool:
    """Return whether each developer has reached the number of launches, or one has failed."""
    pairs = zip(developers, targets, strict=True)
    launched = all(developer.launches >= target for developer, target in pairs)
    return launched or any(future.done() for future in work)


def test_restarting_one_by_one_loses_no_launch(processes: Processes) -> None:
    developers = [Developer(processes.portal, name) for name in ("developer", "developer2")]
    done = threading.Event()
    with ThreadPoolExecutor(len(developers)) as threads:
        work = [threads.submit(developer.work, done) for developer in developers]
        try:
            for name in ("web", "worker"):
                targets = [developer.launches + 1 for developer in developers]
                progressed = partial(has_progressed, developers, targets, work)
                wait_for(progressed, "all have launched", TIMEOUT_SECONDS, 0.05)
                processes.restart(name)
        finally:
            done.set()
        for future in work:
            future.result(timeout=TIMEOUT_SECONDS)
    assert processes.portal.held() == []
