"""A full disk under VAR_DIR, with the database: no process dies, and sandboxes can be destroyed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.helpers.wait import wait_for
from tests.system.test_outages import Installation, installation

pytestmark = [pytest.mark.slow, pytest.mark.root]

DISK_MB = 48


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a small file system in memory."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(tmp_path)]
    subprocess.run(mount, check=True)
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def fill(disk: Path) -> Path:
    """Write until nothing is left, and return the file."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    space = os.statvfs(disk)
    assert space.f_bavail == 0
    return filler


def web_processes(portal: Installation) -> set[int]:
    return {process.pid for process in portal.processes("gunicorn")}


def test_with_a_full_disk_sandboxes_are_destroyed_and_launches_refused(disk: Path) -> None:
    portal = installation(disk, WEB_WORKERS="2")
    with portal.started("web", "worker"):
        [first, second] = [portal.launch().json() for _ in range(2)]
        for one in (first, second):
            wait_for(lambda one=one: portal.state(one) == "running", "it runs", 60, 0.2)
        processes = web_processes(portal)
        assert len(processes) >= 3
        filler = fill(disk)

        assert portal.destroy(first) == 202
        for _ in range(20):
            assert portal.get("/healthz").status_code == 200
            assert portal.get("/accounts/login/").status_code == 200
        wait_for(lambda: portal.state(first) == "destroyed", "the worker removes it", 60, 0.2)
        answer = portal.launch()
        assert_refused(answer)
        assert web_processes(portal) == processes

        fill(disk)  # The reserve, too.
        assert portal.get("/healthz").status_code == 200
        answer = portal.launch()
        assert_refused(answer)
        assert web_processes(portal) == processes

        filler.unlink()
        assert portal.destroy(second) == 202
        assert portal.launch().status_code == 201


def assert_refused(answer: httpx2.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "disk is full" in answer.json()["detail"]
