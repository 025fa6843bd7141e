"""Selection and order of tests.

Tests of test tools (marker `tools`) run only if selected by marker or path, long forms of tests
(marker `exhaustive`) only if selected by marker. Slow files come first, the longest before all, so
that no worker is left with one of them at the end. Browsers use the processors, and most other slow
tests wait for engines and timeouts, so both kinds alternate. Every test that needs an engine or a
browser is marked `slow`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

SLOW = {"engine", "browser"}
"""Markers that imply `slow`."""
LEFT_OUT = ("tools", "exhaustive", "installation", "virtual_machine")
"""Markers of tests that run only if asked for."""
LONGEST = (
    "tests/system/test_outages.py",
    "tests/system/test_end_to_end.py",
    "tests/browser/test_page_states.py",
    "tests/system/test_make_run.py",
    "tests/runtime/test_contract.py",
    "tests/gallery/test_gallery.py",
    "tests/billing/test_reset.py",
    "tests/runtime/docker/test_repair.py",
)
"""Files that take more than half a minute; `--durations` tells."""


def pytest_addoption(parser: pytest.Parser) -> None:
    for name in LEFT_OUT:
        parser.addoption(f"--{name}", action="store_true", help=f"run tests marked `{name}`, too")


def pytest_configure(config: pytest.Config) -> None:
    # Workers inherit these options but not the arguments of the command.
    if hasattr(config, "workerinput"):
        return
    for name in LEFT_OUT:
        if name in config.option.markexpr:
            setattr(config.option, name, True)
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        config.option.tools = True


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark slow tests before `-m` selects."""
    if any(item.get_closest_marker(name) for name in SLOW):
        item.add_marker("slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [name for name in LEFT_OUT if not config.getoption(name)]
    deselected = [item for item in items if any(map(item.get_closest_marker, left_out))]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if not any(map(item.get_closest_marker, left_out))]
    slow = {item.path: None for item in items if item.get_closest_marker("slow")}
    browser = {item.path: None for item in items if item.get_closest_marker("browser")}
    longest = [path for name in LONGEST if (path := config.rootpath / name) in slow]
    others = spread(list(browser), [path for path in slow if path not in browser])
    order = dict.fromkeys([*longest, *others])
    position = {path: number for number, path in enumerate(order)}
    items.sort(key=lambda item: position.get(item.path, len(position)))


def spread(*groups: Sequence[Path]) -> list[Path]:
    """Return the members of all groups in one list, each group spread evenly over it."""
    places = [
        ((number + 0.5) / len(group), member)
        for group in groups
        for number, member in enumerate(group)
    ]
    return [member for _, member in sorted(places)]
