"""What can't run on a machine is left out and told; where all must hold, that is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUITE = """
import pytest

@pytest.mark.engine
def test_on_an_engine():
    raise AssertionError

def test_anywhere():
    pass
"""


def run(folder: Path, *options: str, **values: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_them.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = engine: x\n")
    inherited = {k: v for k, v in os.environ.items() if k not in ("CI", "TESTS_WITHOUT")}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.partial",
            "-p",
            "no:django",
            "-q",
            *options,
            folder,
        ],
        cwd=folder,
        env=inherited | {"PYTHONPATH": str(ROOT)} | values,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("options", [(), ("--numprocesses", "2")], ids=["alone", "side by side"])
def test_tests_that_need_what_is_not_there_are_left_out_and_told(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    done = run(tmp_path, *options, TESTS_WITHOUT="engine")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    command = "make test ARGS='-m engine'"
    assert f"1 test needs a Docker Engine. On a machine that has it: {command}" in done.stdout


def test_without_that_everything_is_run(tmp_path: Path) -> None:
    assert "1 failed, 1 passed" in run(tmp_path).stdout


def test_nothing_is_left_out_where_everything_must_hold(tmp_path: Path) -> None:
    refused = run(tmp_path, TESTS_WITHOUT="engine", CI="true")
    assert refused.returncode != 0
    assert "no test is left out" in refused.stderr
