"""The web process has no access to the engine, whose socket is root access to the host."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.harness.ports import reserve_port
from tests.harness.servers import own_stores
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

PREPARE = """
import json
import django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from sandboxes.accounts.api_tokens import issue

for command in ("migrate", "createcachetable"):
    call_command(command, verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
user = User.objects.create_superuser("olga", "olga@example.com")
client = Client()
client.force_login(user)
print(json.dumps([issue(user, "test")[1], client.cookies["sessionid"].value]))
"""

RUNNING = """
import django
django.setup()
from datetime import timedelta
from django.utils import timezone
from sandboxes.models import Sandbox, UsageSample

now = timezone.now()
Sandbox.objects.update(  # as a worker and some sweeps would have left it
    state="running", started_at=now, last_activity_at=now,
    expires_at=now + timedelta(hours=1), hard_cap_at=now + timedelta(hours=4),
)
row = Sandbox.objects.get()
for minute in range(3):
    UsageSample.objects.create(
        sandbox=row, at=now - timedelta(minutes=minute), memory_mb=50, cpu_seconds=1,
        received_bytes=1, sent_bytes=1,
    )
"""

IMPORTED = """
import sys
import sandboxportal.wsgi
from django.test import Client
assert Client().get("/healthz").status_code == 200
print("docker" in sys.modules)
from sandboxes.runtime import get_runtime
try:
    get_runtime().capabilities()
except Exception as error:
    print(type(error).__name__, "docker" in sys.modules)
"""


@dataclass
class Web:
    """The process as it is deployed, with a fake engine that only records connections."""

    port: int
    environment: dict[str, str]
    trap: socket.socket
    token: str
    session: str
    monitoring_port: int
    log: Path
    pid: int = 0

    def run(self, script: str) -> str:
        command = [sys.executable, "-c", script]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def was_called(self) -> bool:
        try:
            self.trap.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def processes(self) -> set[int]:
        """Return the PIDs of the process and its descendants."""
        parents = {}
        for file in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                parents[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
        found = {self.pid}
        while more := {one for one, parent in parents.items() if parent in found} - found:
            found |= more
        return found


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    var = tmp_path_factory.mktemp("web")
    trap = socket.socket(socket.AF_UNIX)
    trap.setblocking(False)
    trap.bind(str(var / "engine.sock"))
    trap.listen()
    port, monitoring_port = reserve_port(), reserve_port()
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "sandboxportal.settings",
        "SANDBOX_RUNTIME": "docker",
        "SANDBOX_ENGINE_TIMEOUT_SECONDS": "1",
        "DOCKER_HOST": f"unix://{var}/engine.sock",
        "VAR_DIR": str(var),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "MONITORING_PORT": str(monitoring_port),
        "METRICS_TOKEN": "metrics",
        "LOG_FORMAT": "json",
        "ACCESS_LOG": "1",
        "ALLOWED_HOSTS": "127.0.0.1,testserver",
        "SITE_URL": f"http://127.0.0.1:{port}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = ["deploy/process.sh", "web"]
    with own_stores() as stores:
        environment |= stores
        running = Web(port, environment, trap, "", "", monitoring_port, var / "log")
        running.token, running.session = json.loads(running.run(PREPARE))
        with (
            (var / "log").open("w") as log,
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            ) as process,
        ):
            running.pid = process.pid
            try:
                _await(f"http://127.0.0.1:{port}/healthz", var / "log")
                yield running
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=30)
                trap.close()


def _await(url: str, log: Path) -> None:
    for _ in range(300):
        try:
            httpx2.get(url, timeout=1).raise_for_status()
        except httpx2.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(log.read_text()[-4000:])


def test_monitoring_has_its_own_listener_for_any_host_name(web: Web) -> None:
    there = httpx2.Client(
        base_url=f"http://127.0.0.1:{web.monitoring_port}", headers={"Host": "portal.internal"}
    )
    token = {"Authorization": "Bearer metrics"}
    statuses = {
        path: there.get(path, headers=token).status_code
        for path in ("/healthz", "/readyz", "/metrics", "/", "/accounts/login/", "/api/v1/limits")
    }
    assert there.get("/metrics").status_code == 401
    # Neither a worker nor the reaper runs here.
    assert statuses == {"/healthz": 200, "/readyz": 503, "/metrics": 200} | dict.fromkeys(
        ("/", "/accounts/login/", "/api/v1/limits"), 404
    )


def test_each_line_of_the_log_is_an_object_with_the_id_of_the_request(web: Web) -> None:
    url = f"http://127.0.0.1:{web.port}/api/v1/sandboxes?metadata[secret]=in-the-query"
    headers = {"Authorization": f"Bearer {web.token}", "X-Request-ID": "build-4711"}
    assert httpx2.get(url, headers=headers, timeout=20).headers["X-Request-ID"] == "build-4711"

    def logged() -> list[dict[str, Any]]:
        whole, _, _ = web.log.read_text().rpartition("\n")
        return [
            line
            for line in map(json.loads, whole.splitlines())
            if line.get("request_id") == "build-4711"
        ]

    # Gunicorn logs a request after it has sent the response.
    wait_for(lambda: any(line["event"] == "access" for line in logged()), "the line is written")
    mine = logged()
    access = next(line for line in mine if line["event"] == "access")
    assert (access["method"], access["path"], access["status"]) == ("GET", "/api/v1/sandboxes", 200)
    assert any(line.get("user_id") for line in mine)
    assert "in-the-query" not in web.log.read_text()


def test_pages_and_api_are_served_without_calling_the_engine(web: Web) -> None:
    where = f"http://127.0.0.1:{web.port}"
    api = httpx2.Client(
        base_url=f"{where}/api/v1", headers={"Authorization": f"Bearer {web.token}"}, timeout=20
    )
    person = httpx2.Client(
        base_url=where, cookies={"sessionid": web.session}, timeout=20, follow_redirects=True
    )
    launched = api.post("/sandboxes", json={})
    assert launched.status_code == 201
    name = launched.json()["id"]
    web.run(RUNNING)
    calls = ["", "/events", "/usage", "/credentials", "/logs?service=api"]
    answers = [api.get(f"/sandboxes/{name}{call}").status_code for call in calls]
    # Reading logs needs a worker; the rest is in the database.
    assert answers == [200, 200, 200, 200, 503]
    assert len(api.get(f"/sandboxes/{name}/usage").json()["samples"]) == 3
    pages = [
        "/",
        f"/sandboxes/{name}",
        "/admin/",
        "/admin/sandboxes/sandbox/",
        "/admin/sandboxes/maintenance/1/change/",
    ]
    pages += ["/readyz", "/metrics"]
    assert [person.get(page).status_code for page in pages[:5]] == [200] * 5
    assert [person.get(page).status_code for page in pages[5:]] == [503, 200]
    assert api.delete(f"/sandboxes/{name}").status_code == 202
    assert not web.was_called()


def test_requests_that_wait_leave_threads_for_others(web: Web) -> None:
    """Send more requests with `Prefer: wait` than there are threads."""
    where = f"http://127.0.0.1:{web.port}"
    headers = {
        "Authorization": f"Bearer {web.token}",
        "Idempotency-Key": "the same sandbox",
        "Prefer": "wait=6",
    }

    def launch(_: int) -> httpx2.Response:
        return httpx2.post(f"{where}/api/v1/sandboxes", headers=headers, timeout=30)

    with ThreadPoolExecutor(64) as threads:
        answers = [threads.submit(launch, number) for number in range(64)]
        while not (answers[0].running() or answers[0].done()):
            time.sleep(0.01)
        delays = []
        while not all(answer.done() for answer in answers):
            began = time.monotonic()
            assert httpx2.get(f"{where}/healthz", timeout=30).status_code == 200
            delays.append(time.monotonic() - began)
            time.sleep(0.1)
    responses = [answer.result() for answer in answers]
    assert {(one.status_code, one.json()["state"]) for one in responses} == {(201, "pending")}
    waited = [one for one in responses if "Preference-Applied" in one.headers]
    assert 0 < len(waited) <= 8, "four of one user in each of the two processes"
    assert max(delays) < 3, delays


def test_its_processes_have_no_connection_to_an_engine(web: Web) -> None:
    processes = web.processes()
    assert len(processes) >= 3, "gunicorn and its two workers"
    links = [link for pid in processes for link in Path(f"/proc/{pid}/fd").iterdir()]
    held = {str(link.readlink()) for link in links if link.is_symlink()}
    rows = [row.split() for row in Path("/proc/net/unix").read_text().splitlines()]
    # Both ends of a connection would have the socket's path, or be open here.
    engines = [f"socket:[{row[6]}]" for row in rows if web.trap.getsockname() in row]
    assert len(engines) == 1, "only the listening socket"
    assert not held & set(engines)
    assert not [link for link in held if "docker" in link or "containerd" in link]


def test_serving_does_not_import_the_docker_client_and_a_call_to_the_engine_is_detected(
    web: Web,
) -> None:
    assert web.run(IMPORTED).split() == ["False", "EngineUnreachable", "True"]
    assert web.was_called()
