"""A disk is also full when it takes no more files."""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace
from typing import Any

import pytest

from sandboxes.core import disk_reserve
from sandboxes.lib import database_errors


def disk(files: int, free: int) -> SimpleNamespace:
    """Return a module `os` for which half of each disk is free."""
    status = {"f_blocks": 1 << 20, "f_bavail": 1 << 19, "f_frsize": 4096}
    found = SimpleNamespace(**status, f_files=files, f_favail=free)
    return SimpleNamespace(statvfs=lambda _: found)


@pytest.mark.parametrize(
    ("files", "free", "is_full"), [(1000, 63, True), (1000, 64, False), (0, 0, False)]
)
def test_launches_are_refused_while_few_files_can_be_created(
    monkeypatch: pytest.MonkeyPatch, files: int, free: int, is_full: bool
) -> None:
    monkeypatch.setattr(disk_reserve, "_is_needed", lambda: True)
    monkeypatch.setattr(disk_reserve, "os", disk(files, free))

    assert disk_reserve.is_full() is is_full


def test_an_error_of_sqlite_without_room_for_its_files_names_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error: Any = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    monkeypatch.setattr(database_errors, "os", disk(1000, 0))

    assert database_errors.unavailable_reason(error) == "The portal's disk is full."
