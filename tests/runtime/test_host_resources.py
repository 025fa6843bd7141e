"""Free resources of the machine, as reported by the kernel."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from sandboxes.runtime import host_resources


@pytest.fixture
def inodes(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    def fake(free: int, total: int) -> None:
        statvfs = SimpleNamespace(f_favail=free, f_files=total)
        monkeypatch.setattr(host_resources, "os", SimpleNamespace(statvfs=lambda _: statvfs))

    return fake


def test_disk_space_is_in_megabytes(tmp_path: Path) -> None:
    total, free = host_resources.disk_space(tmp_path)
    seen = os.statvfs(tmp_path)
    assert total == seen.f_frsize * seen.f_blocks // 2**20
    assert free is not None and 0 < free <= total


def test_without_inodes_no_disk_space_is_free(
    inodes: Callable[[int, int], None], tmp_path: Path
) -> None:
    inodes(19, 1000)
    assert host_resources.disk_space(tmp_path)[1] == 0
    inodes(20, 1000)
    assert host_resources.disk_space(tmp_path)[1]


def test_a_file_system_without_inodes_counts_as_having_enough(
    inodes: Callable[[int, int], None], tmp_path: Path
) -> None:
    inodes(0, 0)
    assert host_resources.disk_space(tmp_path)[1]


def test_unknown_resources_are_none(tmp_path: Path) -> None:
    assert host_resources.disk_space(tmp_path / "nowhere") == (None, None)


def test_the_socket_proxy_tells_what_a_container_cannot_read() -> None:
    told = {"MemAvailableMB": 900, "DiskTotalMB": 1000, "DiskFreeMB": 400}
    found = host_resources.from_socket_proxy(told | {"Inodes": 100, "InodesFree": 50}, 3)
    assert found == host_resources.HostResources(1000, 400, 3, 900)
    used_up = host_resources.from_socket_proxy(told | {"Inodes": 100, "InodesFree": 1}, 3)
    assert used_up.disk_free_mb == 0
    assert host_resources.from_socket_proxy({}, None) == host_resources.HostResources()
