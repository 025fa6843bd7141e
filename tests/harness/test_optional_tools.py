"""Tests whose tools are missing are skipped and listed; with CI set, that is an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALONE = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Of all installed plugins only those that are named are loaded."""
SUITE = """
import pytest

@pytest.mark.engine
def test_on_an_engine():
    raise AssertionError

def test_anywhere():
    pass
"""


def run(directory: Path, *options: str, **values: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_them.py").write_text(SUITE)
    (directory / "pytest.ini").write_text("[pytest]\nmarkers = engine: x\n")
    inherited = {k: v for k, v in os.environ.items() if k not in ("CI", "TESTS_WITHOUT")}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "xdist",
            "-p",
            "tests.harness.optional_tools",
            "-q",
            *options,
            directory,
        ],
        cwd=directory,
        env=inherited | ALONE | values,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("options", [(), ("--numprocesses", "2")], ids=["alone", "side by side"])
def test_tests_that_need_a_missing_tool_are_skipped_and_listed(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    done = run(tmp_path, *options, TESTS_WITHOUT="engine")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    command = "make test ARGS='-m engine'"
    assert f"1 test needs a Docker Engine. Run on a machine with it: {command}" in done.stdout


def test_without_missing_tools_every_test_runs(tmp_path: Path) -> None:
    assert "1 failed, 1 passed" in run(tmp_path).stdout


def test_with_ci_set_no_test_is_skipped(tmp_path: Path) -> None:
    refused = run(tmp_path, TESTS_WITHOUT="engine", CI="true")
    assert refused.returncode != 0
    assert "no test can be skipped" in refused.stderr
