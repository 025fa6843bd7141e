"""Measuring and removing directories whose contents are not trusted."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sandboxes.runtime import directory_tree
from sandboxes.runtime.directory_tree import DiskUsage, measure, measure_all, remove
from tests.helpers.directories import forest, nest

SECONDS = 30
LONG = "d" * 200
OTHER_USER = 65534


def test_blocks_and_files_are_measured_as_by_du(tmp_path: Path) -> None:
    forest(tmp_path)
    command = ["du", "-s", "--block-size=512"]
    blocks = int(subprocess.check_output([*command, tmp_path]).split()[0])
    files = int(subprocess.check_output([*command, "--inodes", tmp_path]).split()[0])
    itself = tmp_path.stat().st_blocks
    expected = DiskUsage((blocks - itself) * 512 / 1024**2, files - 1)
    assert measure(tmp_path, SECONDS) == expected


@pytest.mark.parametrize("depth", [1500, pytest.param(4000, marks=pytest.mark.slow)])
def test_nested_directories_are_measured_and_removed(tmp_path: Path, depth: int) -> None:
    top = tmp_path / "top"
    top.mkdir()
    nest(top, depth)
    assert measure(top, SECONDS).files == depth
    remove(top, SECONDS)
    assert list(tmp_path.iterdir()) == []


def test_links_are_removed_but_not_what_they_point_to(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    top = tmp_path / "top"
    top.mkdir()
    forest(top)
    (top / "there").symlink_to(kept)
    remove(top, SECONDS)
    (tmp_path / "link").symlink_to(kept)
    for path in (tmp_path / "link", tmp_path / "missing"):
        remove(path, SECONDS)
    assert [*tmp_path.iterdir(), *kept.iterdir()] == [kept, kept / "file"]


def test_directories_without_permissions_are_removed_by_their_owner(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "file").touch()
    # As root, permissions don't matter, so another user owns and removes them.
    user = OTHER_USER if os.geteuid() == 0 else os.geteuid()
    for path in (top / "a" / "b", top / "a", top, tmp_path):
        os.chown(path, user, -1)
        path.chmod(0o700 if path == tmp_path else 0)
    here = os.open(tmp_path, os.O_RDONLY)
    if not (child := os.fork()):
        os.fchdir(here)
        os.setresuid(user, user, user)
        remove(Path("top"), SECONDS)
        os._exit(0)
    os.waitpid(child, 0)
    assert not top.exists()


def test_removal_ends_in_time_and_can_be_continued(tmp_path: Path) -> None:
    forest(tmp_path)
    with pytest.raises(TimeoutError):
        remove(tmp_path, 0)
    remove(tmp_path, SECONDS)
    assert not tmp_path.exists()


@pytest.mark.slow
def test_one_directory_takes_no_time_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_tree, "TOTAL_SECONDS", 0.1)
    monkeypatch.setattr(directory_tree, "GROUP_SECONDS", 0.1)
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    large.mkdir()
    nest(large, 9000, "d")
    found: dict[str, DiskUsage] = {}
    for _ in range(50):
        found |= measure_all({"small": [small], "large": [large], "gone": [tmp_path / "gone"]})
        if len(found) == 2:
            break
    assert found["small"] == DiskUsage(0, 0)
    assert not found["large"].complete
    assert found["large"].files > 0
    remove(large, SECONDS)
