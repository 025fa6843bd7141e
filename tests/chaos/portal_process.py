"""A complete portal in an experiment's environment, whose processes can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from django.db import DatabaseError, connection
from honcho.environ import parse_procfile

from sandboxes.accounts import api_tokens
from sandboxes.models import Event, Sandbox, State
from tests.bench.http_client import HttpClient
from tests.bench.machine import ROOT
from tests.chaos.environment import ChaosEnvironment
from tests.harness.portal import Portal, running_portal
from tests.helpers.wait import wait_for

SANDBOXES = "/api/v1/sandboxes"
ENVIRONMENT_SETTINGS = (
    "SANDBOX_INSTANCE",
    "SECRET_KEY",
    "SANDBOX_ENCRYPTION_KEYS",
    "FRIENDBOT_URL",
)


@dataclass
class ChaosPortal:
    """A running portal, and its processes that the experiment starts and kills."""

    env: ChaosEnvironment
    portal: Portal
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start or restart a process of the Procfile."""
        command = parse_procfile((ROOT / "Procfile").read_text()).processes[name]
        with (self.env.var / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                ["sh", "-c", command],
                cwd=ROOT,
                env=self.portal.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """Kill a process and its children with SIGKILL."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def kill_web_worker(self, which: int) -> bool:
        """Kill a web worker, which gunicorn restarts; return whether there was one."""
        pids = descendants(self.portal.pid)
        workers = [pid for pid in pids if is_gunicorn(pid) and is_gunicorn(parent(pid))]
        if not workers:
            return False
        os.kill(workers[which % len(workers)], signal.SIGKILL)
        return True

    def api_client(self, username: str) -> HttpClient:
        """Return an API client of a developer, who is created if necessary."""
        from django.contrib.auth.models import User

        user, _ = User.objects.get_or_create(username=username)
        token = api_tokens.issue(user, "chaos")[1]
        return HttpClient(
            "127.0.0.1", self.portal.port, timeout=30, Authorization=f"Bearer {token}"
        )

    def all_running(self, count: int) -> bool:
        """Return whether this many sandboxes run, and all others have ended."""
        try:
            states = list(Sandbox.objects.live().values_list("state", flat=True))
        except DatabaseError:
            connection.close()
            return False
        return states == [State.RUNNING] * count

    def sweep(self) -> subprocess.CompletedProcess[str]:
        """Run a sweep in a process of its own, as cron does."""
        return self.portal.manage("reap_sandboxes")

    def request_launch(self, client: HttpClient) -> dict[str, Any]:
        """Request a sandbox. Raises ValueError if the response isn't 201."""
        response = client("POST", SANDBOXES, {})
        if response.status != HTTPStatus.CREATED:
            text = response.body.decode()
            raise ValueError(f"A launch request returned status {response.status}: {text}")
        sandbox: dict[str, Any] = response.json()
        return sandbox

    def launch(self, client: HttpClient, count: int) -> list[dict[str, Any]]:
        """Launch sandboxes one after the other and wait until all of them run.

        Raises TimeoutError with their events if they don't.
        """
        before = Sandbox.objects.live().count()
        launched = [self.request_launch(client) for _ in range(count)]
        try:
            wait_for(lambda: self.all_running(before + count), f"{count} sandboxes run", 90, 0.1)
        except TimeoutError as error:
            raise TimeoutError(f"{error} Events: {' '.join(journals(launched))}") from error
        return launched


def journals(sandboxes: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the id and the event messages of each sandbox."""
    for sandbox in sandboxes:
        events = Event.objects.filter(sandbox__public_id=sandbox["id"]).order_by("pk")
        yield f"{sandbox['id']}: {' '.join(event.message for event in events)}"


def responds(address: str) -> bool:
    """Return whether a sandbox's service responds at the address."""
    with suppress(OSError), urllib.request.urlopen(f"http://{address}/ok", timeout=5) as response:
        return response.status == 200
    return False


def descendants(pid: int) -> Iterator[int]:
    """Yield the process's children, their children and so on."""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in map(int, children):
            yield child
            yield from descendants(child)


def is_gunicorn(pid: int) -> bool:
    """Return whether the process is gunicorn's arbiter or one of its workers."""
    with suppress(OSError):
        return b"gunicorn" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


def parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


@contextmanager
def running_chaos_portal(
    env: ChaosEnvironment,
    processes: tuple[str, ...] = ("web",),
    killable: tuple[str, ...] = (),
    **more: str,
) -> Iterator[ChaosPortal]:
    """Run a portal with these processes, and with `killable` ones that the experiment controls."""
    settings = {name: os.environ[name] for name in ENVIRONMENT_SETTINGS} | more
    with running_portal(env.var, processes, **settings) as portal:
        running = ChaosPortal(env, portal)
        try:
            for name in killable:
                running.start(name)
            yield running
        finally:
            for name in list(running.processes):
                running.kill(name)


def seconds_until(condition: Any, description: str, limit: float = 120) -> float:
    """Wait for the condition and return how long it took. Raises TimeoutError."""
    began = time.monotonic()
    wait_for(condition, description, limit, 0.1)
    return round(time.monotonic() - began, 1)
