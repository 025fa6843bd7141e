"""Checks of disks, memory, clocks, and file permissions."""

from __future__ import annotations

import os
import pwd
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from sandboxes.doctor import host
from sandboxes.doctor.findings import Finding, Level
from sandboxes.lib import clock
from tests.doctor.findings import FINE, WARNING, WRONG, levels, the_one
from tests.helpers.users import OTHER_USER, as_other_user

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

    from sandboxes.runtime.memory import MemoryRuntime


@pytest.mark.parametrize(
    ("finding", "level"),
    [
        (host.var_disk(10_000, 5_000), FINE),
        (host.var_disk(10_000, 1_000), WARNING),
        (host.var_disk(10_000, 100), WRONG),
        (host.var_disk(None, None), WRONG),
        (host.engine_disk(100_000, 50_000), FINE),
        (host.engine_disk(100_000, 5_000), WARNING),
        (host.engine_disk(100_000, 2_000), WRONG),
        (host.engine_disk(None, None), WARNING),
        (host.enough_memory(16_000, 9_000, 40), FINE),
        (host.enough_memory(16_000, 900, 40), WARNING),
    ],
)
def test_free_disk_space_and_memory_are_evaluated(finding: Finding, level: Level) -> None:
    assert finding.level is level
    assert bool(finding.remedy) == (level is not FINE)


def test_the_checks_run_on_this_machine(runtime: MemoryRuntime) -> None:
    assert len(levels(host.disks())) == 2
    assert len(levels(host.memory())) == 1


@pytest.mark.parametrize(
    ("seconds", "level"), [(0, FINE), (-5, WARNING), (5, WARNING), (-99, WRONG)]
)
def test_clock_drift_is_reported(seconds: int, level: Level) -> None:
    there = clock.now() + timedelta(seconds=seconds)
    assert host.clock_agrees("the database", there).level is level


@pytest.mark.django_db
def test_the_clock_of_the_database_is_read() -> None:
    assert levels(host.clocks()) == [FINE]


def test_files_readable_by_others_are_reported(settings: SettingsWrapper, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path
    tmp_path.chmod(0o755)
    for name in ("env", "portal.sqlite3"):
        (tmp_path / name).touch(0o600)
    assert levels(host.files()) == [FINE]
    (tmp_path / "env").chmod(0o644)
    assert f"chmod o-rwx {tmp_path / 'env'}" in the_one(host.files(), WRONG).remedy
    (tmp_path / "portal.sqlite3").chmod(0o644)
    assert levels(host.files()) == [WRONG, WARNING]
    tmp_path.chmod(0o700)
    assert levels(host.files()) == [FINE]


@pytest.mark.root
def test_files_that_another_user_made_are_an_error(
    settings: SettingsWrapper,
) -> None:
    with TemporaryDirectory() as home:
        settings.VAR_DIR = home
        for name in ("queue", "lost+found"):
            Path(home, name).mkdir(0o700)
        os.chown(home, OTHER_USER, OTHER_USER)
        with as_other_user():
            finding = the_one(host.files(), WRONG)
    assert (
        f"This user, {pwd.getpwuid(OTHER_USER).pw_name}, can't write to queue in" in finding.message
    )
    assert "sandbox-portal manage" in finding.remedy


def test_a_read_only_directory_is_an_error(settings: SettingsWrapper, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path / "nowhere"
    assert levels(host.files()) == [WRONG]
