"""The peer: the same stack as people start it without a portal, with Compose, from nothing."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from docker import APIClient

from sandboxes import blueprints
from tests.bench.http_client import Caller
from tests.portal import ROOT
from tests.ports import reserve_port

HERE = Path(__file__).parent
SQL = ROOT / "fixtures" / "billing"
IMAGE = "sandboxportal/bench-peer-db"
ASK_EVERY_SECONDS = 0.02
PATIENCE_SECONDS = 90


@dataclass(frozen=True)
class Peer:
    """The stack by Compose, to be started and removed again and again."""

    command: list[str]

    def once(self, *more_files: str) -> dict[str, float]:
        """Seconds of `up -d` until the API answers with its seed, of that command, of `down`."""
        return _once(self.command, "compose.yaml", *more_files)

    def waiting(self, times: int) -> list[float]:
        """The same until it answers, with an API that waits for the database's health check."""
        return [self.once("waiting.yaml")["seconds"] for _ in range(times)]

    def version(self) -> str:
        command = [*self.command, "version", "--short"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def peer(engine: APIClient) -> Iterator[Peer]:
    """The peer, with its database's image for as long as that is needed."""
    command = compose_command()
    with tempfile.TemporaryDirectory() as made:
        context = shutil.copytree(HERE, Path(made) / "context")
        shutil.copy(SQL / "schema.sql", context / "10-schema.sql")
        shutil.copy(SQL / "seed.sql", context)
        said = list(engine.build(path=str(context), tag=IMAGE, rm=True, decode=True))
    if errors := [line["error"] for line in said if "error" in line]:
        raise RuntimeError(f"The peer's image could not be built: {errors[0]}")
    try:
        yield Peer(command)
    finally:
        engine.remove_image(IMAGE, force=True)


def compose_command() -> list[str]:
    """Compose as it is installed here: version 2 is the docker command's own."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and _runs([*command, "version"]):
            return command
    raise RuntimeError("Compose is not installed.")


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _once(command: list[str], *files: str) -> dict[str, float]:
    port, key = reserve_port(), f"sk_test_{secrets.token_hex(16)}"
    environment = os.environ | {
        "API_KEY": key,
        "DATABASE_PASSWORD": secrets.token_hex(16),
        "API_PORT": str(port),
        "COMPOSE_PROJECT_NAME": f"bench-peer-{secrets.token_hex(4)}",
    }
    compose = [*command, *(f"--file={HERE / file}" for file in files)]
    try:
        began = time.perf_counter()
        _run([*compose, "up", "-d"], environment)
        returned = time.perf_counter() - began
        _until_seeded(Caller("127.0.0.1", port, timeout=5, Authorization=f"Bearer {key}"))
        seconds = time.perf_counter() - began
    finally:
        began = time.perf_counter()
        _run([*compose, "down", "-v"], environment)
    return {"seconds": seconds, "command": returned, "down": time.perf_counter() - began}


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-1000:]}")


def _until_seeded(caller: Caller) -> None:
    wanted = blueprints.load("billing").seed["plans"]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = caller.get("/v1/plans")
            if answer.status == 200 and answer.json()["total"] == wanted:
                return
        except (OSError, HTTPException):
            pass
        time.sleep(ASK_EVERY_SECONDS)
    raise TimeoutError("The peer did not answer with its seed.")
