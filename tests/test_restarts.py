"""Web and worker are restarted one by one while people launch: nobody notices."""

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

import httpx
import pytest
from honcho.environ import parse_procfile

from tests.portal import ROOT, Portal, running_portal
from tests.waiting import until

pytestmark = pytest.mark.slow

LONGEST_SECONDS = 90
COMMANDS = parse_procfile((ROOT / "Procfile").read_text()).processes
# As a socket unit of systemd hands it over: while no process listens, calls wait in it.
TAKE_OVER = "exec 3<&{fd} && export LISTEN_FDS=1 LISTEN_PID=$$ && "


class Processes:
    """The portal's processes, each on its own as systemd runs them."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.door = socket.create_server(("127.0.0.1", portal.port), backlog=64)
        self.door.set_inheritable(True)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        take_over = TAKE_OVER.format(fd=self.door.fileno()) if name == "web" else ""
        with (self.portal.var / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                ["bash", "-c", take_over + COMMANDS[name]],
                cwd=ROOT,
                env=self.portal.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[self.door.fileno()],
            )

    def stop(self, name: str) -> int:
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=LONGEST_SECONDS)

    def restart(self, name: str) -> None:
        assert self.stop(name) == 0
        self.start(name)

    def close(self) -> None:
        for name in list(self.running):
            self.stop(name)
        self.door.close()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    settings = {"SANDBOX_RUNTIME": "process", "WEB_GRACEFUL_SECONDS": "60", "REAPER_SECONDS": "2"}
    with running_portal(tmp_path, (), **settings) as portal, closing(Processes(portal)) as made:
        for name in ("web", "worker", "reaper"):
            made.start(name)
        yield made


class Developer:
    """Launches and destroys, again and again, and never asks twice."""

    def __init__(self, portal: Portal, who: str) -> None:
        self.base = f"http://127.0.0.1:{portal.port}/api/v1"
        self.headers = {"Authorization": f"Bearer {portal.accounts[who]['token']}"}
        self.launches = 0

    def ask(self, method: str, path: str, **options: str) -> dict[str, Any]:
        """On a connection of its own, so that none is closed for having been idle."""
        headers = self.headers | options
        answer = httpx.request(method, self.base + path, headers=headers, timeout=LONGEST_SECONDS)
        assert answer.is_success, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def work(self, done: threading.Event) -> None:
        while not done.is_set():
            sandbox = self.ask("POST", "/sandboxes", Prefer="wait=60")
            assert sandbox["state"] == "running", sandbox
            self.launches += 1
            path = f"/sandboxes/{sandbox['id']}"
            self.ask("DELETE", path)
            until(partial(self.is_destroyed, path), "it is destroyed", LONGEST_SECONDS, 0.05)

    def is_destroyed(self, path: str) -> bool:
        return bool(self.ask("GET", path)["state"] == "destroyed")


def moved_on(people: list[Developer], wanted: list[int], work: list[Future[None]]) -> bool:
    """All have launched so often, or one can't any more."""
    launched = all(one.launches >= count for one, count in zip(people, wanted, strict=True))
    return launched or any(one.done() for one in work)


def test_restarting_one_by_one_loses_no_launch(processes: Processes) -> None:
    people = [Developer(processes.portal, who) for who in ("developer", "developer2")]
    done = threading.Event()
    with ThreadPoolExecutor(len(people)) as threads:
        work = [threads.submit(one.work, done) for one in people]
        try:
            for name in ("web", "worker"):
                wanted = [one.launches + 1 for one in people]
                launched = partial(moved_on, people, wanted, work)
                until(launched, "all have launched", LONGEST_SECONDS, 0.05)
                processes.restart(name)
        finally:
            done.set()
        for one in work:
            one.result(timeout=LONGEST_SECONDS)
    assert processes.portal.held() == []
