"""The API of a billing sandbox as a plain process, and how a developer talks to it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx

from tests.ports import reserve_port

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures" / "billing"
BLUEPRINT = ROOT / "sandboxes" / "blueprints" / "billing"
API_KEY = "sk_test_ThisOneIsForTestsAlone00000000"
TIME_LIMIT = 20.0


class ApiClient(httpx.Client):
    """A client with the sandbox's key."""

    def __init__(self, url: str, key: str = API_KEY) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        super().__init__(base_url=url, headers=headers, timeout=TIME_LIMIT)

    def ok(self, method: str, path: str, status: int = 200, **options: Any) -> dict[str, Any]:
        """The body of an answer that must have that status."""
        answer = self.request(method, path, **options)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def list_all(self, path: str) -> list[dict[str, Any]]:
        """All rows of a list that fits on a page."""
        page = self.ok("GET", path)
        assert not page["has_more"]
        rows: list[dict[str, Any]] = page["data"]
        return rows


def assert_problem(
    answer: httpx.Response, status: int, *words: str, field: str = ""
) -> dict[str, Any]:
    """The problem in an answer, which must be well formed and hold the words."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["title"] and problem["type"] == "about:blank"
    assert all(word in problem["detail"] for word in words), problem["detail"]
    if field:
        assert [error["field"] for error in problem["errors"]] == [field], problem
    return problem


def install_packages(cache: Path) -> Path:
    """The packages that the image has, unpacked once for each requirements.txt."""
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
    """The API's process. One that says much needs a file as its log: a pipe fills up."""
    path = os.pathsep.join([str(packages), str(BLUEPRINT / "api")])
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "billing_api"],
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def running_api(packages: Path, database_url: str) -> Iterator[str]:
    """The API over a database, for as long as the block runs; its URL."""
    port = reserve_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+") as log:
        process = start_api(
            packages, log, API_KEY=API_KEY, DATABASE_URL=database_url, PORT=str(port)
        )
        try:
            _wait_until_up(url, process)
            yield url
        finally:
            process.terminate()
            assert process.wait(TIME_LIMIT) == 0
            log.seek(0)
            assert "Traceback" not in log.read()


def _wait_until_up(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{url}/healthz", timeout=1).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("The API did not come up")
