"""A whole portal as users run it: its own processes, database, queue and instance."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import httpx2
import pytest
from cryptography.fernet import Fernet
from docker.errors import APIError

from sandboxes.runtime.process import process_table
from sandboxes.runtime.process.state_dir import StateDir
from tests.harness.ports import reserve_port
from tests.harness.runtimes import command_of
from tests.harness.servers import own_stores
from tests.harness.shared_files import creating_shared, link_shared, share_templates
from tests.helpers.servers import start_in_thread

ROOT = Path(__file__).resolve().parents[2]
PREPARE_SECONDS = 900
"""Blueprints may have images to build."""


class Friendbot(BaseHTTPRequestHandler):
    """Funds every account."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Portal(ABC):
    """The running processes, and operations of a user of this machine."""

    var: Path
    port: int
    environment: dict[str, str] = field(repr=False)
    accounts: dict[str, Any] = field(default_factory=dict, repr=False)
    started: Sequence[str] = ("web", "worker")
    """Processes of the Procfile to start."""
    parent: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    """The parent of the portal's processes; None while stopped."""

    @property
    def instance(self) -> str:
        return self.environment["SANDBOX_INSTANCE"]

    @property
    def pid(self) -> int:
        return self.parent.pid if self.parent else 0

    def start(self) -> None:
        """Start the processes and wait until pages are served."""
        log = self.var / "portal.log"
        with log.open("ab") as out:
            self.parent = subprocess.Popen(
                ["honcho", "start", *self.started],
                cwd=ROOT,
                env=self.environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _await(f"http://127.0.0.1:{self.port}/healthz", self.parent, log)

    def stop(self) -> None:
        if self.parent:
            self.parent.send_signal(signal.SIGTERM)
            self.parent.wait(timeout=30)
            self.parent = None

    def manage(self, *arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def client(self, who: str) -> httpx2.Client:
        return httpx2.Client(
            base_url=f"http://127.0.0.1:{self.port}/api/v1",
            headers={"Authorization": f"Bearer {self.accounts[who]['token']}"},
            timeout=75,
        )

    @abstractmethod
    def held(self) -> list[str]:
        """Return all objects of this portal on its runtime."""

    @abstractmethod
    def sandboxes(self) -> set[str]:
        """Return the IDs of running sandboxes."""

    @abstractmethod
    def kill(self, sandbox_id: str, service: str) -> None:
        """Kill a service, as a fault would."""

    @abstractmethod
    def clear(self) -> None:
        """Remove all objects, even after failed tests."""


class DockerPortal(Portal):
    @cached_property
    def engine(self) -> docker.APIClient:
        return docker.APIClient(timeout=60)

    def _filter(self, **labels: str) -> dict[str, list[str]]:
        """Return a filter for objects of this portal."""
        labels |= {"instance": self.instance}
        return {"label": [f"sandboxportal.{name}={value}" for name, value in labels.items()]}

    def held(self) -> list[str]:
        own = self._filter()
        return [
            *(row["Id"] for row in self.engine.containers(all=True, filters=own)),
            *(row["Id"] for row in self.engine.networks(filters=own)),
            *(row["Name"] for row in self.engine.volumes(filters=own)["Volumes"] or ()),
        ]

    def sandboxes(self) -> set[str]:
        running = self.engine.containers(filters=self._filter())
        return {row["Labels"]["sandboxportal.sandbox"] for row in running}

    def kill(self, sandbox_id: str, service: str) -> None:
        wanted = self._filter(sandbox=sandbox_id, service=service)
        [found] = self.engine.containers(filters=wanted)
        self.engine.kill(found["Id"])

    def clear(self) -> None:
        """Remove the objects that the engine still has, as far as possible."""
        own = self._filter()
        with suppress(APIError):
            for row in self.engine.containers(all=True, filters=own):
                self.engine.remove_container(row["Id"], v=True, force=True)
        with suppress(APIError):
            for row in self.engine.networks(filters=own):
                self.engine.remove_network(row["Id"])
        self.engine.close()


class ProcessPortal(Portal):
    @property
    def home(self) -> Path:
        return Path(self.environment["SANDBOX_PROCESS_DIR"])

    def processes(self) -> list[process_table.Process]:
        found = process_table.members(self.instance, self.home)
        return [process for processes in found.values() for process in processes]

    def held(self) -> list[str]:
        running = [str(process.pid) for process in self.processes()]
        return [*running, *StateDir(self.home).sandboxes()]

    def sandboxes(self) -> set[str]:
        return set(process_table.members(self.instance, self.home))

    def kill(self, sandbox_id: str, service: str) -> None:
        for process in process_table.members(self.instance, self.home)[sandbox_id]:
            if {"api": "-m\0billing_api", "db": "postgres\0-D"}[service] in command_of(process):
                process_table.send_signal(process, signal.SIGKILL)

    def clear(self) -> None:
        process_table.end_all(self.processes, 10)


KINDS = {"docker": DockerPortal, "process": ProcessPortal}


def _environment(var: Path, port: int, friendbot: int) -> dict[str, str]:
    # Browser tests set this variable in their process, which may be this one.
    inherited = {name: v for name, v in os.environ.items() if name != "DJANGO_ALLOW_ASYNC_UNSAFE"}
    return inherited | {
        "DJANGO_SETTINGS_MODULE": "tests.harness.portal_settings",
        "VAR_DIR": str(var),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "SITE_URL": f"http://127.0.0.1:{port}",
        "STREAMS_PORTAL_URL": f"http://127.0.0.1:{port}",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "SANDBOX_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "SANDBOX_INSTANCE": f"e2e-{secrets.token_hex(4)}",
        "SANDBOX_RUNTIME": "docker",
        "SANDBOX_PROCESS_DIR": _home(),
        "SANDBOX_ORPHAN_GRACE_SECONDS": "0",
        "SANDBOX_POOL_SIZE": "0",
        "FRIENDBOT_URL": f"http://127.0.0.1:{friendbot}/",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DEBUG": "off",
        "ALLOWED_HOSTS": "127.0.0.1",
    }


def _home() -> str:
    """Create a directory that other users can enter: under root, sandboxes run as others."""
    folder = Path(tempfile.mkdtemp(prefix="portal-tests-processes-"))
    folder.chmod(0o755)
    return str(folder.resolve())


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            httpx2.get(url, timeout=1).raise_for_status()
        except httpx2.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"The portal did not come up:\n{log.read_text()[-4000:]}")


@contextmanager
def running_portal(
    var: Path, processes: Sequence[str] = ("web", "worker"), **environment: str
) -> Iterator[Portal]:
    """Run a portal with these processes of the Procfile; remove everything afterwards.

    Without processes, it is prepared but not started.
    """
    with own_stores() as stores, _running_portal(var, processes, stores | environment) as running:
        yield running


@contextmanager
def _running_portal(
    var: Path, processes: Sequence[str], environment: Mapping[str, str]
) -> Iterator[Portal]:
    port = reserve_port()
    friendbot = ThreadingHTTPServer(("127.0.0.1", 0), Friendbot)
    start_in_thread(friendbot)
    settings = _environment(var, port, friendbot.server_port) | environment
    running: Portal = KINDS[settings["SANDBOX_RUNTIME"]](var, port, settings)
    running.started = processes
    link_shared(var / "static", "static")
    if settings["SANDBOX_RUNTIME"] == "process":
        share_templates(Path(settings["SANDBOX_PROCESS_DIR"]))
    with creating_shared():
        done = running.manage("prepare", "--demo", seconds=PREPARE_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    running.accounts = json.loads((var / "demo-accounts.json").read_text())
    try:
        if processes:
            running.start()
        yield running
    finally:
        running.stop()
        friendbot.shutdown()
        running.clear()
        shutil.rmtree(running.environment["SANDBOX_PROCESS_DIR"], ignore_errors=True)


ON_DOCKER = pytest.param("docker", marks=pytest.mark.engine)


@pytest.fixture(scope="module", params=["process", ON_DOCKER])
def portal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Portal]:
    """Run web and worker; tests run sweeps themselves."""
    with running_portal(tmp_path_factory.mktemp("var"), SANDBOX_RUNTIME=request.param) as running:
        yield running
