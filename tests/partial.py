"""What this machine can't run is left out, and told at the end: `TESTS_WITHOUT`, by marker."""

from __future__ import annotations

import os
from typing import Any

import pytest

NEEDS = {
    "engine": "a Docker Engine",
    "browser": "Chromium",
    "postgres": "PostgreSQL",
    "root": "root on Linux, with nftables and btrfs-progs",
    "promtool": "promtool, of Debian's package prometheus",
    "psql": "psql, of Debian's package postgresql-client",
}
LEFT_OUT = pytest.StashKey[dict[str, int]]()


def pytest_configure(config: pytest.Config) -> None:
    wanted = os.environ.get("TESTS_WITHOUT", "").split()
    if wanted and os.environ.get("CI"):
        raise pytest.UsageError("Where CI is set, no test is left out: unset TESTS_WITHOUT.")
    if unknown := set(wanted) - set(NEEDS):
        raise pytest.UsageError(f"TESTS_WITHOUT: {unknown} is none of {', '.join(NEEDS)}.")
    config.stash[LEFT_OUT] = dict.fromkeys(wanted, 0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out, kept = [], []
    for item in items:
        lacking = [name for name in config.stash[LEFT_OUT] if item.get_closest_marker(name)]
        (left_out if lacking else kept).append(item)
        for name in lacking[:1]:
            config.stash[LEFT_OUT][name] += 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Of several processes that share the tests each leaves out the same; one of them tells."""
    if (told := getattr(session.config, "workeroutput", None)) is not None:
        told["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[LEFT_OUT].update(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    told = {name: count for name, count in config.stash[LEFT_OUT].items() if count}
    if told:
        terminalreporter.section("not run here")
    for name, count in told.items():
        command = f"make test ARGS='-m {name}'"
        needed = "1 test needs" if count == 1 else f"{count} tests need"
        terminalreporter.line(f"{needed} {NEEDS[name]}. On a machine that has it: {command}")
