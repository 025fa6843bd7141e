"""The portal without Redis, its worker or its database: it says so, keeps working, and heals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from sqlite3 import OperationalError, connect
from typing import Any

import httpx2
import psutil
import pytest

from tests.conftest import PASSWORD
from tests.harness.portal import ROOT
from tests.harness.ports import reserve_port
from tests.harness.postgres import running_cluster
from tests.harness.redis import Redis, redis
from tests.harness.shared_files import creating_shared, link_shared
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.slow

PREPARE = f"""
import json
import django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from sandboxes.accounts.api_tokens import issue

for command in ("prepare", "reap_sandboxes"):
    call_command(command, stdout=open("/dev/null", "w"))
user = User.objects.create_user("alice", "alice@example.com", {PASSWORD!r})
print(json.dumps(issue(user, "test")[1]))
"""


WAKE_WORKER = """
import django
django.setup()
from sandboxportal.celery import app

app.send_task("sandboxes.tasks.provision", ["sbx_anything"])
"""


@dataclass
class Installation:
    """A web process and a worker with simulated sandboxes."""

    var: Path
    environment: dict[str, str]
    token: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return self.environment["SITE_URL"]

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout

    @contextmanager
    def started(self, *names: str) -> Iterator[None]:
        with creating_shared():
            self.token = json.loads(self.run("-c", PREPARE).splitlines()[-1])
        with (self.var / "portal.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["honcho", "start", *names],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_for(lambda: self.get("/healthz").status_code == 200, "pages are served", 60, 0.2)
            yield
        finally:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.resume()
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)

    def logged(self, text: str) -> int:
        """Return how often the processes logged this."""
        return (self.var / "portal.log").read_text().count(text)

    def processes(self, program: str) -> list[psutil.Process]:
        assert self.process
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if program in child.cmdline()]

    def suspend_between_transactions(self, process: psutil.Process) -> None:
        """Suspend a process at a moment when it doesn't lock the database."""
        database = connect(self.var / "portal.sqlite3", timeout=0, isolation_level=None)
        with closing(database):
            while True:
                process.suspend()
                try:
                    database.execute("BEGIN IMMEDIATE")
                except OperationalError:
                    process.resume()
                    time.sleep(0.05)
                else:
                    database.execute("ROLLBACK")
                    return

    def get(self, path: str) -> httpx2.Response:
        try:
            return httpx2.get(self.url + path, timeout=20)
        except httpx2.ConnectError:
            return httpx2.Response(0)

    def failed_checks(self) -> set[str]:
        """Return the names of the failed checks, but for the reaper, which doesn't run here."""
        checks = self.get("/readyz").json()["checks"]
        return {name for name, check in checks.items() if not check["ok"]} - {"reaper"}

    def launch(self) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx2.post(f"{self.url}/api/v1/sandboxes", json={}, headers=headers, timeout=30)

    def state(self, sandbox: dict[str, Any]) -> str:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx2.get(f"{self.url}/api/v1/sandboxes/{sandbox['id']}", headers=headers)
        return str(answer.json()["state"])

    def destroy(self, sandbox: dict[str, Any]) -> int:
        headers = {"Authorization": f"Bearer {self.token}"}
        where = f"{self.url}/api/v1/sandboxes/{sandbox['id']}"
        return httpx2.delete(where, headers=headers, timeout=30).status_code

    def sign_in(self, password: str = PASSWORD) -> httpx2.Response:
        with httpx2.Client(base_url=self.url, timeout=30) as browser:
            page = browser.get("/accounts/login/")
            token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
            assert token
            form = {"login": "alice@example.com", "password": password}
            headers = {"Referer": self.url}
            return browser.post(
                "/accounts/login/", data=form | {"csrfmiddlewaretoken": token[1]}, headers=headers
            )


def installation(var: Path, **settings: str) -> Installation:
    port = reserve_port()
    link_shared(var / "static", "static")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return Installation(
        var,
        os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "tests.harness.portal_settings",
            "SANDBOX_RUNTIME": "memory",
            "DATABASE_URL": f"sqlite:///{var}/portal.sqlite3",
            "CACHE_URL": "dbcache://portal_cache",
            "CELERY_BROKER_URL": "",
            "SANDBOX_LAUNCHES_PER_HOUR": "0",
            "VAR_DIR": str(var),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "WEB_WORKERS": "1",
            "SITE_URL": f"http://127.0.0.1:{port}",
            "PATH": path,
            **settings,
        },
    )


class Took:
    """Measures how long a request takes."""

    def __enter__(self) -> Took:
        self.started = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self.started


def assert_works_without_redis(portal: Installation) -> None:
    with Took() as first:
        assert portal.sign_in().status_code == 302
    with Took() as second:
        assert portal.sign_in().status_code == 302
    assert portal.sign_in("wrong password").status_code == 200
    with Took() as launching:
        launched = portal.launch()
    assert launched.status_code == 201
    assert portal.destroy(launched.json()) == 202
    assert portal.get("/healthz").status_code == 200
    assert portal.failed_checks() == {"broker"}
    assert first.seconds < 10
    assert second.seconds < 5
    assert launching.seconds < 10


def assert_healed(portal: Installation) -> None:
    wait_for(lambda: portal.failed_checks() == set(), "the portal is ready again", 60, 0.5)
    launched = portal.launch().json()
    wait_for(lambda: portal.state(launched) == "running", "a worker provisions again", 60, 0.2)
    portal.destroy(launched)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def portal(redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Run a portal whose cache and queue are in Redis."""
    started = installation(
        tmp_path_factory.mktemp("var"),
        CACHE_URL=redis_server.url,
        CELERY_BROKER_URL=redis_server.url.replace("/0", "/1"),
    )
    with started.started("web", "worker"):
        yield started


def test_without_redis_users_sign_in_and_launches_wait(
    portal: Installation, redis_server: Redis
) -> None:
    assert_healed(portal)
    assert redis_server.process
    redis_server.process.send_signal(signal.SIGSTOP)
    try:
        assert_works_without_redis(portal)
        report = portal.run("manage.py", "doctor")
    finally:
        redis_server.process.send_signal(signal.SIGCONT)
    assert "The cache server doesn't respond" in report
    assert "The check itself failed" not in report
    assert "CELERY_BROKER_URL" in report
    assert_healed(portal)
    redis_server.stop()
    assert_works_without_redis(portal)
    redis_server.start()
    assert_healed(portal)


@pytest.fixture(scope="module")
def hung_worker(portal: Installation) -> psutil.Process:
    """Suspend the worker of the portal.

    That takes a minute to be reported, so tests with a portal of their own run meanwhile.
    """
    wait_for(lambda: portal.failed_checks() == set(), "the portal is ready", 60, 0.5)
    [worker] = portal.processes("celery")
    portal.suspend_between_transactions(worker)
    return worker


@pytest.mark.usefixtures("hung_worker")
def test_while_its_database_hangs_the_portal_says_so_and_heals(tmp_path: Path) -> None:
    with running_cluster(durable=True) as cluster:
        portal = installation(
            tmp_path,
            DATABASE_URL=cluster.url("postgres"),
            DATABASE_TIMEOUT_SECONDS="2",
            REAPER_SECONDS="1",
        )
        with portal.started("web", "worker", "reaper"):
            # So that connections are open.
            assert portal.launch().status_code == 201
            wait_for(lambda: portal.logged("kind=running"), "the worker works", 60, 0.2)
            with cluster.hanging(), Took() as asking:
                portal.run("-c", WAKE_WORKER)
                answers = [portal.launch() for _ in range(2)]
                assert portal.get("/healthz").status_code == 200
                for line in ("The sweep failed: OperationalError", "task_failed"):
                    wait_for(partial(portal.logged, line), line, 20, 0.2)
            assert [answer.status_code for answer in answers] == [503, 503]
            assert answers[0].json()["detail"] == "The database is unavailable. Try again shortly."
            assert asking.seconds < 30
            wait_for(lambda: portal.launch().status_code == 201, "the portal works again", 20, 0.5)
            running, swept = portal.logged("kind=running"), portal.logged(" swept ")
            portal.launch()
            wait_for(lambda: portal.logged("kind=running") > running, "the worker works", 60, 0.2)
            wait_for(lambda: portal.logged(" swept ") > swept, "the reaper works", 30, 0.2)


@pytest.mark.usefixtures("hung_worker")
def test_without_its_database_the_portal_says_so_and_heals(tmp_path: Path) -> None:
    with running_cluster(durable=True) as cluster:
        portal = installation(tmp_path, DATABASE_URL=cluster.url("postgres"))
        with portal.started("web"):
            assert portal.launch().status_code == 201
            cluster.stop()
            try:
                page = portal.get("/accounts/login/")
                assert portal.get("/healthz").status_code == 200
                home = httpx2.get(portal.url, cookies={"sessionid": "x" * 32}, timeout=20)
                answer = portal.launch()
                metrics = portal.get("/metrics")
                ready = portal.get("/readyz").json()
            finally:
                cluster.start()
            assert page.status_code in (200, 503)
            assert (home.status_code, answer.status_code) == (503, 503)
            assert "The database is unavailable." in home.text
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json()["detail"] == "The database is unavailable. Try again shortly."
            assert int(answer.headers["Retry-After"]) > 0
            assert metrics.status_code in (401, 503)
            assert [n for n, check in ready["checks"].items() if not check["ok"]] == ["database"]
            wait_for(lambda: portal.launch().status_code == 201, "the portal works again", 20, 0.5)


def test_a_worker_that_hangs_is_reported_until_it_continues(
    portal: Installation, hung_worker: psutil.Process
) -> None:
    wait_for(lambda: portal.failed_checks() == {"worker"}, "the worker is reported", 70, 0.5)
    launched = portal.launch()
    assert launched.status_code == 201
    assert portal.state(launched.json()) == "pending"
    hung_worker.resume()
    wait_for(lambda: portal.failed_checks() == set(), "the portal is ready again", 30, 0.5)
    wait_for(lambda: portal.state(launched.json()) == "running", "the launch continues", 60, 0.2)
