"""The same stack without a portal, as people start it from scratch with Docker Compose."""

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

from sandboxes.blueprints import folders
from tests.bench.http_client import HttpClient
from tests.harness.portal import ROOT
from tests.harness.ports import reserve_port

HERE = Path(__file__).parent
SQL = ROOT / "fixtures" / "billing"
IMAGE = "sandboxportal/bench-compose-db"
POLL_INTERVAL_SECONDS = 0.02
SEED_TIMEOUT_SECONDS = 90


@dataclass(frozen=True)
class ComposeStack:
    """A stack that Compose starts and removes, any number of times."""

    command: list[str]

    def once(self, *more_files: str) -> dict[str, float]:
        """Return the seconds until the API serves its seed, of `up -d` alone, and of `down`."""
        return _once(self.command, "compose.yaml", *more_files)

    def with_health_check(self, times: int) -> list[float]:
        """Return the seconds until the seed is served, if the API waits for a healthy database."""
        return [self.once("health-check.yaml")["seconds"] for _ in range(times)]

    def version(self) -> str:
        command = [*self.command, "version", "--short"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def compose_stack(engine: APIClient) -> Iterator[ComposeStack]:
    """Build the database's image, yield the stack, and remove the image."""
    command = compose_command()
    with tempfile.TemporaryDirectory() as folder:
        context = shutil.copytree(HERE, Path(folder) / "context")
        shutil.copy(SQL / "schema.sql", context / "10-schema.sql")
        shutil.copy(SQL / "events.sql", context / "15-events.sql")
        shutil.copy(SQL / "seed.sql", context)
        output = list(engine.build(path=str(context), tag=IMAGE, rm=True, decode=True))
    if errors := [line["error"] for line in output if "error" in line]:
        raise RuntimeError(f"Couldn't build the image of the Compose stack: {errors[0]}")
    try:
        yield ComposeStack(command)
    finally:
        engine.remove_image(IMAGE, force=True)


def compose_command() -> list[str]:
    """Return the installed Compose: version 2 is a plugin of the docker command."""
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
        "PORTAL_KEY": f"sk_portal_{secrets.token_hex(16)}",
        "DATABASE_PASSWORD": secrets.token_hex(16),
        "API_PORT": str(port),
        "COMPOSE_PROJECT_NAME": f"bench-compose-{secrets.token_hex(4)}",
    }
    compose = [*command, *(f"--file={HERE / file}" for file in files)]
    try:
        began = time.perf_counter()
        _run([*compose, "up", "-d"], environment)
        returned = time.perf_counter() - began
        _until_seeded(HttpClient("127.0.0.1", port, timeout=5, Authorization=f"Bearer {key}"))
        seconds = time.perf_counter() - began
    finally:
        began = time.perf_counter()
        _run([*compose, "down", "-v"], environment)
    return {"seconds": seconds, "command": returned, "down": time.perf_counter() - began}


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-1000:]}")


def _until_seeded(client: HttpClient) -> None:
    plans = folders.valid()["billing"].seed["plans"]
    deadline = time.monotonic() + SEED_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            response = client.get("/v1/plans")
            if response.status == 200 and response.json()["total"] == plans:
                return
        except (OSError, HTTPException):
            pass
        time.sleep(POLL_INTERVAL_SECONDS)
    raise TimeoutError("The Compose stack did not serve its seed.")
