"""Run the billing API as a plain process, and a client for it."""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx2

from sandboxes.blueprints import addresses, load
from sandboxes.runtime import Runtime, SandboxSpec
from tests.harness.ports import reserve_port

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures" / "billing"
BLUEPRINT = ROOT / "sandboxes" / "blueprints" / "billing"
API_KEY = "sk_test_ThisOneIsForTestsAlone00000000"
PORTAL_KEY = "sk_portal_ThisOneIsForTestsAlone000"
STELLAR_ADDRESS = "GAAZI4TCR3TY5OJHCTJC2A4QSY6CJWJH5IAJTGKIN2ER7LBNVKOCCWN7"
TIME_LIMIT = 20.0
MAX_LOG_BYTES = 1024 * 1024
RESOURCES = (
    "plans",
    "subscribers",
    "subscriptions",
    "invoices",
    "payments",
    "payment_methods",
    "refunds",
)


class ApiClient(httpx2.Client):
    """An HTTP client that sends the API key of the sandbox."""

    def __init__(self, url: str, key: str = API_KEY) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        super().__init__(base_url=url, headers=headers, timeout=TIME_LIMIT)

    def ok(self, method: str, path: str, status: int = 200, **options: Any) -> dict[str, Any]:
        """Send a request, assert its status, and return the body."""
        response = self.request(method, path, **options)
        assert response.status_code == status, response.text
        body: dict[str, Any] = response.json()
        return body

    def list_all(self, path: str) -> list[dict[str, Any]]:
        """Return all rows of a list that fits on one page."""
        page = self.ok("GET", path)
        assert not page["has_more"]
        rows: list[dict[str, Any]] = page["data"]
        return rows


@dataclass
class LaunchedSandbox:
    """A running billing sandbox with its credentials."""

    runtime: Any
    spec: SandboxSpec
    credentials: dict[str, str]
    api: ApiClient

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def database_url(self) -> str:
        return self.credentials["database_url"]

    def everything(self) -> dict[str, Any]:
        """Return all data that the API serves."""
        return {name: self.api.list_all(f"/v1/{name}?limit=100") for name in RESOURCES}


Launched = TypeVar("Launched", bound=LaunchedSandbox)


def launch_variables(launched_at: datetime) -> dict[str, str]:
    """Return the variables that the portal sets at a launch."""
    return {
        "SANDBOX_LAUNCHED_AT": launched_at.isoformat(),
        "SANDBOX_STELLAR_PUBLIC_KEY": STELLAR_ADDRESS,
    }


def launch_billing(
    kind: type[Launched], runtime: Runtime, launched_at: datetime | None = None
) -> Launched:
    """Launch a billing sandbox."""
    blueprint, sandbox_id = load("billing"), f"sbx_{secrets.token_hex(8)}"
    values = blueprint.new_secrets()
    variables = launch_variables(launched_at or datetime.now(UTC))
    spec = blueprint.spec(sandbox_id, values | variables, disk_mb=2048)
    published = addresses(runtime.create(spec, lambda _: None, 60))
    credentials = blueprint.fill_credentials(values, published)
    url = blueprint.endpoint_urls(published)["api"]
    return kind(runtime, spec, credentials, ApiClient(url, credentials["api_key"]))


def assert_problem(
    response: httpx2.Response, status: int, *words: str, field: str = ""
) -> dict[str, Any]:
    """Assert that a response is a well-formed problem with these words, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["title"] and problem["type"] == "about:blank"
    assert all(word in problem["detail"] for word in words), problem["detail"]
    if field:
        assert [error["field"] for error in problem["errors"]] == [field], problem
    return problem


def install_packages(cache: Path) -> Path:
    """Install the packages of the image, once for each requirements.txt."""
    requirements = BLUEPRINT / "api" / "requirements.txt"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = hashlib.sha256(requirements.read_bytes() + version.encode()).hexdigest()[:16]
    folder, done = cache / name, cache / f"{name}.done"
    if not done.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        what = ["--requirement", str(requirements), "--require-hashes", "--no-deps"]
        how = ["--only-binary=:all:", "--upgrade", "--target", str(folder)]
        subprocess.run([*pip, *what, *how], check=True)
        done.touch()
    return folder


def start_api(
    packages: Path, log: IO[str] | int = subprocess.PIPE, **environment: str
) -> subprocess.Popen[str]:
    """Start the API. Use a file as the log of a long-running process, as a pipe fills up."""
    path = os.pathsep.join([str(packages), str(BLUEPRINT / "api")])
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "billing_api"],
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def running_api(packages: Path, database_url: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """Run the API while the block runs, and yield its URL and a function that reads its log."""
    port = reserve_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+") as log:
        process = start_api(
            packages,
            log,
            API_KEY=API_KEY,
            PORTAL_KEY=PORTAL_KEY,
            STELLAR_ADDRESS=STELLAR_ADDRESS,
            DATABASE_URL=database_url,
            PORT=str(port),
        )
        try:
            _wait_until_up(url, process)
            yield url, lambda: os.pread(log.fileno(), MAX_LOG_BYTES, 0).decode()
        finally:
            process.terminate()
            assert process.wait(TIME_LIMIT) == 0
            log.seek(0)
            assert "Traceback" not in log.read()


def _wait_until_up(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx2.get(f"{url}/healthz", timeout=1).raise_for_status()
        except httpx2.HTTPError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("The API did not start in time")
