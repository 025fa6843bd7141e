"""No reader of foreign data takes much memory or time for any input."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from tests.security.bombs import READERS

SECONDS, MEMORY_MB = 8.0, 60
"""Far above what any of them takes on an idle machine."""


@cache
def results() -> list[dict[str, Any]]:
    """Return what each reader and bomb took, in a process of their own."""
    command = [sys.executable, "-m", "tests.security.bombs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_survives_every_bomb(reader: str) -> None:
    found = [one for one in results() if one["reader"] == reader]
    assert len(found) == sum(1 for _ in READERS[reader][1]())
    assert [one for one in found if one["error"]] == []
    assert [one for one in found if one["memory_mb"] > MEMORY_MB] == []
    assert [one for one in found if one["seconds"] > SECONDS] == []
