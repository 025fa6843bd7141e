"""Which tests run by default, and in which order.

Tests of test tools (marker `tools`) run when they are asked for, by marker or by path. Slow files
come first, so that no worker is left with one of them at the end. Every test that needs an engine
or a browser is marked `slow`.
"""

from __future__ import annotations

import pytest

SLOW = {"engine", "browser"}
"""Markers that imply `slow`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tools", action="store_true", help="run tests of test tools, too")


def pytest_configure(config: pytest.Config) -> None:
    by_name = config.args_source is pytest.Config.ArgsSource.ARGS
    # Processes that share the tests get this option, but not how the tests were asked for.
    if not hasattr(config, "workerinput") and (by_name or "tools" in config.option.markexpr):
        config.option.tools = True


def pytest_itemcollected(item: pytest.Item) -> None:
    """Before `-m` selects."""
    if any(item.get_closest_marker(name) for name in SLOW):
        item.add_marker("slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tools = [item for item in items if item.get_closest_marker("tools")]
    if tools and not config.option.tools:
        config.hook.pytest_deselected(items=tools)
        items[:] = [item for item in items if not item.get_closest_marker("tools")]
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
