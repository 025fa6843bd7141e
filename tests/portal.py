"""A whole portal as a stranger would run it: its own processes, database, queue and instance."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Friendbot(BaseHTTPRequestHandler):
    """Funds whatever it is asked for."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Portal:
    """The running processes, and what a person at this machine can do with them."""

    var: Path
    port: int
    environment: dict[str, str] = field(repr=False)
    accounts: dict[str, Any] = field(default_factory=dict, repr=False)
    pid: int = 0
    """Of the process whose children are the portal's."""

    @property
    def instance(self) -> str:
        return self.environment["SANDBOX_INSTANCE"]

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def client(self, who: str) -> httpx.Client:
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}/api/v1",
            headers={"Authorization": f"Bearer {self.accounts[who]['token']}"},
            timeout=75,
        )

    def engine(self, *arguments: str) -> str:
        """What the docker command says of this portal's own objects."""
        label = f"label=sandboxportal.instance={self.instance}"
        command = ["docker", *arguments, "--filter", label]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def left_on_engine(self) -> list[str]:
        listings = (("ps", "-aq"), ("network", "ls", "-q"), ("volume", "ls", "-q"))
        return [line for listing in listings for line in self.engine(*listing).split()]


def _environment(var: Path, port: int, friendbot: int) -> dict[str, str]:
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "sandboxportal.settings",
        "VAR_DIR": str(var),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "SITE_URL": f"http://127.0.0.1:{port}",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "SANDBOX_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "SANDBOX_INSTANCE": f"e2e-{secrets.token_hex(4)}",
        "SANDBOX_RUNTIME": "docker",
        "SANDBOX_ORPHAN_GRACE_SECONDS": "0",
        "SANDBOX_POOL_SIZE": "0",
        "FRIENDBOT_URL": f"http://127.0.0.1:{friendbot}/",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DEBUG": "off",
        "ALLOWED_HOSTS": "127.0.0.1",
    }


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            httpx.get(url, timeout=1).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"The portal did not come up:\n{log.read_text()[-4000:]}")


@contextmanager
def running_portal(
    var: Path, processes: Sequence[str] = ("web", "worker"), **environment: str
) -> Iterator[Portal]:
    """A portal with those of the Procfile's processes; nothing of it is left afterwards."""
    port = free_port()
    friendbot = ThreadingHTTPServer(("127.0.0.1", 0), Friendbot)
    threading.Thread(target=friendbot.serve_forever, daemon=True).start()
    running = Portal(var, port, _environment(var, port, friendbot.server_port) | environment)
    done = running.manage("prepare", "--demo")
    assert done.returncode == 0, done.stdout + done.stderr
    running.accounts = json.loads((var / "demo-accounts.json").read_text())
    log = var / "portal.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["honcho", "start", *processes],
            cwd=ROOT,
            env=running.environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running.pid = process.pid
    try:
        _await(f"http://127.0.0.1:{port}/healthz", process, log)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        friendbot.shutdown()
        _clear(running)


def _clear(portal: Portal) -> None:
    """Remove what the engine still holds of it, so far as it can be removed."""
    if containers := portal.engine("ps", "-aq").split():
        subprocess.run(["docker", "rm", "-fv", *containers], check=False, capture_output=True)
    if networks := portal.engine("network", "ls", "-q").split():
        subprocess.run(["docker", "network", "rm", *networks], check=False, capture_output=True)


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """Web and worker run; sweeps are for the tests to ask for."""
    with running_portal(tmp_path_factory.mktemp("var")) as running:
        yield running
