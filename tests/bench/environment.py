"""The stage: a portal of its own, developers who use it, and what the engine holds of it."""

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
from tests.bench.http_client import Answer, Caller
from tests.portal import ROOT, Portal, running_portal
from tests.waiting import until

HOST = "127.0.0.1"
MANY = "250"
LAUNCH = "/api/v1/sandboxes"
# gunicorn's own watch, for each request that names itself: its name, status and microseconds.
ACCESS_LOG = "access.log"
ACCESS_FORMAT = "%({x-bench}i)s %(s)s %(D)s"


@dataclass(frozen=True)
class Stage:
    """One portal, its developers' tokens, and the engine."""

    portal: Portal
    tokens: list[str]
    engine: APIClient

    def developer(self, number: int = 0) -> Caller:
        """One of them, round and round; each has a connection of its own."""
        token = self.tokens[number % len(self.tokens)]
        return Caller(HOST, self.portal.port, Authorization=f"Bearer {token}")

    def account(self, name: str) -> Caller:
        """A demo account's program."""
        token = self.portal.accounts[name]["token"]
        return Caller(HOST, self.portal.port, Authorization=f"Bearer {token}")

    def browser(self, name: str) -> Caller:
        """A demo account's browser, signed in."""
        cookie = f"sessionid={inside(self.portal, 'session', name)}"
        return Caller(HOST, self.portal.port, Cookie=cookie)

    def count(self, state: str) -> int:
        """Sandboxes in a state, read beside the portal so that asking costs it nothing."""
        path = f"file:{self.portal.var / 'portal.sqlite3'}?mode=ro"
        with closing(sqlite3.connect(path, uri=True)) as database:
            asked = database.execute(
                "SELECT count(*) FROM sandboxes_sandbox WHERE state = ?", [state]
            )
            return int(asked.fetchone()[0])

    def containers(self, sandbox_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.engine.containers(
            all=True, filters={"label": f"{SANDBOX}={sandbox_id}"}
        )
        return found

    def holds(self, sandbox_id: str) -> bool:
        """Whether anything on the engine bears the sandbox's label."""
        filters = {"label": f"{SANDBOX}={sandbox_id}"}
        # Networks go last but one, and listing them is the cheapest.
        return bool(
            self.engine.networks(filters=filters)
            or self.containers(sandbox_id)
            or self.engine.volumes(filters=filters)["Volumes"]
        )

    def server_seconds(self, name: str, status: int, count: int) -> list[float]:
        """The server's own time of so many answers of this status to requests of this name."""
        log = self.portal.var / ACCESS_LOG

        def found() -> list[float]:
            lines = [line.split() for line in log.read_text().splitlines()]
            return [int(micros) / 1e6 for *who, micros in lines if who == [name, str(status)]]

        # An answer is out before its line is written.
        until(lambda: len(found()) >= count, f"the access log tells of {name}", seconds=5)
        return found()


def launch(caller: Caller, wait: bool = True) -> tuple[Answer, dict[str, Any]]:
    """Ask for a sandbox; the answer and the sandbox in it. Raises RuntimeError on a refusal."""
    headers = {"Prefer": "wait=60"} if wait else {}
    answer = caller("POST", LAUNCH, {}, **headers)
    sandbox = answer.json()
    if answer.status != 201 or (wait and sandbox["state"] != "running"):
        raise RuntimeError(f"A launch was answered with {answer.status}: {answer.body.decode()}")
    return answer, sandbox


def destroy(stage: Stage, caller: Caller, sandbox: dict[str, Any]) -> None:
    """Have it destroyed, and wait until nothing of it is left on the engine."""
    caller("DELETE", f"{LAUNCH}/{sandbox['id']}")
    until(lambda: not stage.holds(sandbox["id"]), f"{sandbox['id']} is removed")


def billing(caller: Caller, sandbox: dict[str, Any]) -> Caller:
    """The sandbox's own API, with its own key."""
    keys = caller.get(f"{LAUNCH}/{sandbox['id']}/credentials").json()
    host, _, port = sandbox["endpoints"]["api"].removeprefix("http://").partition(":")
    return Caller(host, int(port), timeout=10, Authorization=f"Bearer {keys['api_key']}")


def inside(portal: Portal, what: str, *arguments: object, **environment: str) -> Any:
    """Call a function of `tests.bench.portal_tasks` in the portal's environment."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.portal_tasks", what, json.dumps(arguments)],
        cwd=ROOT,
        env=portal.environment | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{what}{arguments} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def engine() -> APIClient:
    return APIClient(**kwargs_from_env(), max_pool_size=32)


@contextmanager
def stage(
    developers: int, processes: tuple[str, ...] = ("web", "worker"), **environment: str
) -> Iterator[Stage]:
    """A portal that lets so many developers have as many sandboxes as they like."""
    above = Path(os.environ.get("BENCH_DIR", tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix="portal-", dir=above) as var:
        values = {
            "SANDBOX_MAX_PER_USER": MANY,
            "SANDBOX_MAX_SITE": MANY,
            "SANDBOX_LAUNCHES_PER_HOUR": "0",
            "API_CALLS_PER_MINUTE": "0",
            "SANDBOX_POOL_SIZE": "0",
            "GUNICORN_CMD_ARGS": (
                f"--access-logfile {var}/{ACCESS_LOG} --access-logformat '{ACCESS_FORMAT}'"
            ),
        }
        with running_portal(Path(var), processes, **(values | environment)) as portal:
            yield Stage(portal, inside(portal, "people", developers), engine())
