"""The environment of a benchmark: a portal, its developers, and its objects on the engine."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.utils import kwargs_from_env

from sandboxes.runtime.docker.names import SANDBOX
from tests.bench.http_client import HttpClient, HttpResponse
from tests.harness.portal import ROOT, Portal, running_portal
from tests.helpers.wait import wait_for

HOST = "127.0.0.1"
AS_INSTALLED = Path(__file__).parent / "as_installed"
UNLIMITED = "250"
SANDBOXES = "/api/v1/sandboxes"
# For each request with an X-Bench header, gunicorn logs its value, the status and microseconds.
ACCESS_LOG = "access.log"
ACCESS_FORMAT = "%({x-bench}i)s %(s)s %(D)s"


@dataclass(frozen=True)
class PortalEnvironment:
    """A portal, its developers' tokens, and a client of the engine."""

    portal: Portal
    tokens: list[str]
    engine: APIClient

    def developer(self, number: int = 0) -> HttpClient:
        """Return a new client with a developer's token; numbers wrap around."""
        token = self.tokens[number % len(self.tokens)]
        return HttpClient(HOST, self.portal.port, Authorization=f"Bearer {token}")

    def account(self, name: str) -> HttpClient:
        """Return an API client with the token of a demo account."""
        token = self.portal.accounts[name]["token"]
        return HttpClient(HOST, self.portal.port, Authorization=f"Bearer {token}")

    def browser(self, name: str) -> HttpClient:
        """Return a client with the session of a signed-in demo account."""
        return HttpClient(HOST, self.portal.port, Cookie=self.session(name))

    def session(self, name: str) -> str:
        """Sign a demo account in and return its cookie."""
        return f"sessionid={call_in_portal(self.portal, 'sign_in', name)}"

    def count(self, state: str) -> int:
        """Count sandboxes in a state, straight from the database so that the portal has no work."""
        path = f"file:{self.portal.var / 'portal.sqlite3'}?mode=ro"
        with closing(sqlite3.connect(path, uri=True)) as database:
            rows = database.execute(
                "SELECT count(*) FROM sandboxes_sandbox WHERE state = ?", [state]
            )
            return int(rows.fetchone()[0])

    def containers(self, sandbox_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.engine.containers(
            all=True, filters={"label": f"{SANDBOX}={sandbox_id}"}
        )
        return found

    def exists_on_engine(self, sandbox_id: str) -> bool:
        """Return whether any engine object has the sandbox's label."""
        filters = {"label": f"{SANDBOX}={sandbox_id}"}
        # Networks are removed near the end, and listing them is cheapest.
        return bool(
            self.engine.networks(filters=filters)
            or self.containers(sandbox_id)
            or self.engine.volumes(filters=filters)["Volumes"]
        )

    def server_seconds(self, name: str, status: int, count: int) -> list[float]:
        """Return the server's own time for `count` requests of this name and status."""
        log = self.portal.var / ACCESS_LOG

        def logged() -> list[float]:
            lines = [line.split() for line in log.read_text().splitlines()]
            return [int(micros) / 1e6 for *which, micros in lines if which == [name, str(status)]]

        # gunicorn sends a response before it writes the log line.
        wait_for(lambda: len(logged()) >= count, f"the access log contains {name}", seconds=5)
        return logged()


def launch(client: HttpClient, wait: bool = True) -> tuple[HttpResponse, dict[str, Any]]:
    """Launch a sandbox; return the response and its sandbox. Raises RuntimeError on an error."""
    headers = {"Prefer": "wait=60"} if wait else {}
    response = client("POST", SANDBOXES, {}, **headers)
    sandbox = response.json()
    if response.status != 201 or (wait and sandbox["state"] != "running"):
        raise RuntimeError(f"A launch returned status {response.status}: {response.body.decode()}")
    return response, sandbox


def destroy(env: PortalEnvironment, client: HttpClient, sandbox: dict[str, Any]) -> None:
    """Destroy the sandbox and wait until the engine has none of its objects."""
    client("DELETE", f"{SANDBOXES}/{sandbox['id']}")
    wait_for(lambda: not env.exists_on_engine(sandbox["id"]), f"{sandbox['id']} is removed")


def billing(client: HttpClient, sandbox: dict[str, Any]) -> HttpClient:
    """Return a client of the sandbox's API, with the sandbox's key."""
    keys = client.get(f"{SANDBOXES}/{sandbox['id']}/credentials").json()
    host, _, port = sandbox["endpoints"]["api"].removeprefix("http://").partition(":")
    return HttpClient(host, int(port), timeout=10, Authorization=f"Bearer {keys['api_key']}")


def call_in_portal(portal: Portal, function: str, *arguments: object, **environment: str) -> Any:
    """Call a function of `tests.bench.portal_tasks` in the portal's environment.

    Raises RuntimeError if the function fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.portal_tasks", function, json.dumps(arguments)],
        cwd=ROOT,
        env=portal.environment | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{function}{arguments} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def engine() -> APIClient:
    return APIClient(**kwargs_from_env(), max_pool_size=32)


@contextmanager
def portal_environment(
    developers: int, processes: tuple[str, ...] = ("web", "worker"), **environment: str
) -> Iterator[PortalEnvironment]:
    """Start a portal in which this many developers may have any number of sandboxes."""
    parent = Path(os.environ.get("BENCH_DIR", tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix="portal-", dir=parent) as var:
        values = {
            "PYTHONPATH": str(AS_INSTALLED),
            "SANDBOX_MAX_PER_USER": UNLIMITED,
            "SANDBOX_MAX_SITE": UNLIMITED,
            "SANDBOX_LAUNCHES_PER_HOUR": "0",
            "API_CALLS_PER_MINUTE": "0",
            "SANDBOX_POOL_SIZE": "0",
            "GUNICORN_CMD_ARGS": (
                f"--access-logfile {var}/{ACCESS_LOG} --access-logformat '{ACCESS_FORMAT}'"
            ),
        }
        with running_portal(Path(var), processes, **(values | environment)) as portal:
            yield PortalEnvironment(
                portal, call_in_portal(portal, "create_developers", developers), engine()
            )
