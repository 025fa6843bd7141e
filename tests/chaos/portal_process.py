"""A whole portal in an ordeal's world: its web process, and workers and reapers that may die."""

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
from tests.chaos.environment import World
from tests.portal import Portal, running_portal
from tests.waiting import until

SANDBOXES = "/api/v1/sandboxes"
THE_WORLDS = ("SANDBOX_INSTANCE", "SECRET_KEY", "SANDBOX_ENCRYPTION_KEYS", "FRIENDBOT_URL")


@dataclass
class Staged:
    """A portal that serves, and those of its processes that the ordeal itself keeps running."""

    world: World
    portal: Portal
    crew: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a process of the Procfile, or start it again."""
        command = parse_procfile((ROOT / "Procfile").read_text()).processes[name]
        with (self.world.var / f"{name}.log").open("ab") as log:
            self.crew[name] = subprocess.Popen(
                ["sh", "-c", command],
                cwd=ROOT,
                env=self.portal.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """Nothing of it has time for anything."""
        process = self.crew.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def kill_a_web_worker(self, which: int) -> bool:
        """One of those that gunicorn starts again. False: it has none at the moment."""
        workers = [
            pid for pid in below(self.portal.pid) if is_gunicorn(pid) and is_gunicorn(parent(pid))
        ]
        if not workers:
            return False
        os.kill(workers[which % len(workers)], signal.SIGKILL)
        return True

    def person(self, name: str) -> HttpClient:
        """A developer's program."""
        from django.contrib.auth.models import User

        user, _ = User.objects.get_or_create(username=name)
        token = api_tokens.issue(user, "chaos")[1]
        return HttpClient(
            "127.0.0.1", self.portal.port, timeout=30, Authorization=f"Bearer {token}"
        )

    def running(self, count: int) -> bool:
        """Whether so many run, and nothing is neither there nor gone."""
        try:
            states = list(Sandbox.objects.live().values_list("state", flat=True))
        except DatabaseError:
            connection.close()
            return False
        return states == [State.RUNNING] * count

    def sweep(self) -> subprocess.CompletedProcess[str]:
        """As cron does it."""
        return self.portal.manage("reap_sandboxes")

    def asked(self, person: HttpClient) -> dict[str, Any]:
        """One that was granted. Raises ValueError with what was said instead."""
        answer = person("POST", SANDBOXES, {})
        if answer.status != HTTPStatus.CREATED:
            raise ValueError(f"A launch was answered {answer.status}: {answer.body.decode()}")
        granted: dict[str, Any] = answer.json()
        return granted

    def launch(self, person: HttpClient, count: int) -> list[dict[str, Any]]:
        """So many sandboxes, asked for one after the other, all running."""
        before = Sandbox.objects.live().count()
        made = [self.asked(person) for _ in range(count)]
        try:
            until(lambda: self.running(before + count), f"{count} sandboxes run", 90, 0.1)
        except TimeoutError as error:
            raise TimeoutError(f"{error} What came of them: {' '.join(journals(made))}") from error
        return made


def journals(made: list[dict[str, Any]]) -> Iterator[str]:
    """What the portal has written of each so far."""
    for one in made:
        events = Event.objects.filter(sandbox__public_id=one["id"]).order_by("pk")
        yield f"{one['id']}: {' '.join(event.message for event in events)}"


def answers(address: str) -> bool:
    """Whether a sandbox's service is there."""
    with suppress(OSError), urllib.request.urlopen(f"http://{address}/ok", timeout=5) as answer:
        return answer.status == 200
    return False


def below(pid: int) -> Iterator[int]:
    """All processes that it started, and those that these started."""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in map(int, children):
            yield child
            yield from below(child)


def is_gunicorn(pid: int) -> bool:
    """One of its workers, or who starts these again."""
    with suppress(OSError):
        return b"gunicorn" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


def parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


@contextmanager
def staged(
    world: World, processes: tuple[str, ...] = ("web",), crew: tuple[str, ...] = (), **more: str
) -> Iterator[Staged]:
    """A portal of these processes, and a crew that may be killed."""
    settings = {name: os.environ[name] for name in THE_WORLDS} | more
    with running_portal(world.var, processes, **settings) as portal:
        made = Staged(world, portal)
        try:
            for name in crew:
                made.start(name)
            yield made
        finally:
            for name in list(made.crew):
                made.kill(name)


def seconds_until(true: Any, what: str, limit: float = 120) -> float:
    """How long it took. Raises TimeoutError."""
    began = time.monotonic()
    until(true, what, limit, 0.1)
    return round(time.monotonic() - began, 1)
