"""The test tools, most of which no test runs, can at least be imported."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import django
import pytest

TESTS = Path(__file__).resolve().parents[1]
TOOLS = ("bench", "chaos", "isolation")


@pytest.mark.parametrize("tool", TOOLS)
def test_every_module_of_a_tool_can_be_imported(monkeypatch, tool: str) -> None:
    # Modules that run in processes of their own set Django up; here, it is.
    monkeypatch.setattr(django, "setup", lambda: None)
    modules = {file.stem for file in (TESTS / tool).glob("*.py")} - {"__main__", "__init__"}
    assert modules
    for name in sorted(modules):
        import_module(f"tests.{tool}.{name}")
