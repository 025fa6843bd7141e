"""The hard disk limit, on a separate engine whose storage can enforce it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import docker
import pytest

from sandboxes.runtime import EngineRefused
from sandboxes.runtime.docker import DockerRuntime
from tests.chaos.daemon import Daemon, second_engine
from tests.harness.runtimes import (
    TIME_LIMIT,
    DockerHarness,
    fetch_page,
    ignore_step,
    with_service,
)

pytestmark = [pytest.mark.engine, pytest.mark.root]

INTERFACES = Path("/sys/class/net")
LIMIT_MB = 32
MANY_FILES = """
i=0
while [ $i -lt 8 ]; do
    dd if=/dev/zero of=/home/$i bs=1M count=8 || exit 1
    i=$((i+1))
done
"""


class SeparateEngineHarness(DockerHarness):
    """A harness for another engine."""

    def __init__(self, image: str, engine: Daemon) -> None:
        self.url = f"unix://{engine.socket}"
        self.subnets = engine.network.subnets
        super().__init__(image)
        self.client = docker.APIClient(base_url=self.url, timeout=int(TIME_LIMIT))

    def new_runtime(self, subnets: IPv4Network | None = None, **options: Any) -> DockerRuntime:
        return super().new_runtime(subnets or self.subnets, **{"engine_url": self.url} | options)


@pytest.fixture(scope="module")
def btrfs() -> Iterator[Path]:
    """Mount an empty file system from a file. It also holds sockets, as its path is short."""
    with tempfile.TemporaryDirectory(prefix="btrfs-") as folder:
        disk, here = Path(folder) / "disk", Path(folder) / "d"
        here.mkdir()
        with disk.open("wb") as file:
            file.truncate(1 << 30)
        subprocess.run(["mkfs.btrfs", "-q", disk], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", disk, here], check=True)
        try:
            yield here
        finally:
            subprocess.run(["umount", "--lazy", here], check=True)


@pytest.fixture(scope="module")
def engine(btrfs: Path, tiny_image: str) -> Iterator[Daemon]:
    """Run a second engine that stores its data on the btrfs disk."""
    before = {one.name for one in INTERFACES.iterdir()}
    with second_engine(tiny_image, "--storage-driver=btrfs", root=btrfs) as engine:
        yield engine
    assert "docker0" not in before or (INTERFACES / "docker0").exists()


@pytest.fixture
def harness(engine: Daemon, tiny_image: str) -> Iterator[SeparateEngineHarness]:
    harness = SeparateEngineHarness(tiny_image, engine)
    yield harness
    harness.clear()


def test_writes_over_the_limit_fail_and_the_sandbox_keeps_running(
    harness: SeparateEngineHarness,
) -> None:
    assert harness.runtime.capabilities().hard_disk_limit
    spec, facts = harness.create(disk_mb=LIMIT_MB)
    code, output = harness.runtime.execute(spec.id, "store", ["sh", "-c", MANY_FILES], TIME_LIMIT)
    assert code == 1
    assert "quota" in output.lower() or "no space" in output.lower()
    written = output.count("8+0 records out") * 8
    assert LIMIT_MB / 2 <= written <= LIMIT_MB
    facts = harness.runtime.observe(sizes=True)[spec.id]
    assert facts.alive
    assert facts.disk_mb is not None and facts.disk_mb <= LIMIT_MB
    fetch_page(facts)


def test_other_sandboxes_and_the_engine_have_disk_space_left(
    harness: SeparateEngineHarness,
) -> None:
    full, _ = harness.create(disk_mb=LIMIT_MB)
    harness.runtime.execute(full.id, "store", ["sh", "-c", MANY_FILES], TIME_LIMIT)
    other, _ = harness.create(disk_mb=LIMIT_MB)
    harness.fill_disk(other, LIMIT_MB // 2)
    assert (harness.runtime.capabilities().resources.disk_free_mb or 0) > 500


def test_services_that_can_write_share_the_limit(harness: SeparateEngineHarness) -> None:
    spec = with_service(harness.spec(disk_mb=LIMIT_MB), "web", read_only=False)
    harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    harness.fill_disk(spec, LIMIT_MB // 4)
    with pytest.raises((AssertionError, EngineRefused)):
        harness.fill_disk(spec, LIMIT_MB * 3 // 4)
