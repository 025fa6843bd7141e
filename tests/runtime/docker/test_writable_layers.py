"""Disk usage of containers: what is measured again, and what is known to be unchanged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.measurements import writable_layers
from sandboxes.runtime.docker.measurements.writable_layers import FreeSpace, WritableLayers

MB = 1024 * 1024
SIZE = 5 * MB
"""Too little to count as growth."""


class Disk:
    """The data directory of an engine, whose free space a test decides."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.free = FreeSpace(0.0, 1000.0, 100_000)
        (root / writable_layers.MOUNTS).mkdir(parents=True)
        self.layers = WritableLayers(cast("EngineClient", SimpleNamespace(is_local=True)))
        self.layers.__dict__["_root"] = root
        self.sandboxes: dict[str, list[str]] = {}

    def add(self, sandbox: str) -> None:
        self.sandboxes[sandbox] = [sandbox]
        mount = self.root / writable_layers.MOUNTS / sandbox
        mount.mkdir()
        (mount / "mount-id").write_text(f"layer-{sandbox}\n")
        self._layer(sandbox).mkdir(parents=True)

    def write(self, sandbox: str, name: str) -> None:
        (self._layer(sandbox) / name).write_bytes(b"x" * SIZE)

    def measure(self) -> dict[str, int]:
        """Return the number of files of each sandbox."""
        found = self.layers.measure(self.sandboxes, {})
        return {name: usage.files for name, usage in found.items()}

    def _layer(self, sandbox: str) -> Path:
        return self.root / writable_layers.DRIVER / f"layer-{sandbox}" / "diff"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(tmp_path)
    monkeypatch.setattr(WritableLayers, "_read_free_space", lambda _: disk.free)
    disk.add("old")
    disk.write("old", "first")
    assert disk.measure() == {"old": 1}
    disk.write("old", "second")
    return disk


def test_a_sandbox_is_not_measured_again_while_no_space_was_taken(disk: Disk) -> None:
    disk.free = FreeSpace(299, 993, 99_001)
    disk.add("new")
    assert disk.measure() == {"old": 1, "new": 0}


@pytest.mark.parametrize(
    "free", [FreeSpace(1, 991, 100_000), FreeSpace(1, 1000, 98_999), FreeSpace(301, 1000, 100_000)]
)
def test_all_are_measured_again_once_space_or_files_were_taken_or_after_minutes(
    disk: Disk, free: FreeSpace
) -> None:
    disk.free = free
    assert disk.measure() == {"old": 2}


def test_growth_adds_up_over_several_sweeps(disk: Disk) -> None:
    disk.free = FreeSpace(1, 995, 100_000)
    assert disk.measure() == {"old": 1}
    disk.free = FreeSpace(2, 990, 100_000)
    assert disk.measure() == {"old": 2}


def test_all_are_measured_again_when_one_has_gone_and_freed_space(disk: Disk) -> None:
    disk.add("other")
    disk.measure()
    del disk.sandboxes["other"]
    assert disk.measure() == {"old": 2}


def test_a_sandbox_with_new_containers_is_measured(disk: Disk) -> None:
    disk.add("replacement")
    disk.sandboxes = {"old": ["replacement"]}
    assert disk.measure() == {"old": 0}


def test_what_could_not_be_measured_to_the_end_is_measured_again(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandboxes.runtime.directory_tree.GROUP_SECONDS", -1.0)
    disk.free = FreeSpace(301, 1000, 100_000)
    assert disk.measure() == {"old": 1}, "stopped after the first file"
    assert not disk.layers._measured
