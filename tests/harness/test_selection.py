"""Some tests wait to be asked for, and slow files start first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.selection import LONGEST, spread

ROOT = Path(__file__).resolve().parents[2]
QUICK = "def test_quick(): pass"
SLOW = """
import pytest

@pytest.mark.engine
def test_slow(): pass
"""
TOOLS = """
import pytest

@pytest.mark.tools
def test_tools(): pass
"""
EXHAUSTIVE = """
import pytest

@pytest.mark.parametrize("count", [2, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_form(count): pass
"""
INI = "[pytest]\nmarkers = engine: x\n  slow: x\n  tools: x\n  exhaustive: x\ntestpaths = ."


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    for name, text in {"a": QUICK, "b": SLOW, "c": TOOLS, "d": EXHAUSTIVE}.items():
        (tmp_path / f"test_{name}.py").write_text(text)
    (tmp_path / "pytest.ini").write_text(INI)
    return tmp_path


def names(suite: Path, *options: str) -> list[str]:
    """Return the selected tests in order."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.harness.selection", "-q", "--co", *options],
        cwd=suite,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]


def test_slow_files_come_first_and_tests_of_test_tools_are_left_out(suite: Path) -> None:
    assert names(suite) == ["test_slow", "test_quick", "test_form[2]"]


def test_browser_files_are_spread_over_the_other_slow_files() -> None:
    browsers, others = [Path("b1"), Path("b2")], [Path(f"o{number}") for number in range(4)]
    order = [path.name for path in spread(browsers, others)]
    assert order == ["o0", "b1", "o1", "o2", "b2", "o3"]


def test_the_longest_files_exist() -> None:
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []


def test_the_longest_file_comes_first(suite: Path) -> None:
    folder = suite / Path(LONGEST[0]).parent
    folder.mkdir(parents=True)
    (suite / LONGEST[0]).write_text(SLOW.replace("test_slow", "test_longest"))
    assert names(suite)[:2] == ["test_longest", "test_slow"]


def test_tests_that_need_an_engine_are_slow(suite: Path) -> None:
    assert names(suite, "-m", "not slow", "-k", "quick or slow") == ["test_quick"]


@pytest.mark.parametrize("asked", [("-m", "tools"), ("test_c.py",)])
def test_tests_of_test_tools_run_if_selected(suite: Path, asked: tuple[str, ...]) -> None:
    assert names(suite, *asked) == ["test_tools"]


def test_exhaustive_forms_run_only_if_selected_by_marker(suite: Path) -> None:
    assert names(suite, "test_d.py") == ["test_form[2]"]
    assert names(suite, "-m", "exhaustive") == ["test_form[1]"]
