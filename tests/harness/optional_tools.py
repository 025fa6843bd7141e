"""Skip the tests whose markers `TESTS_WITHOUT` lists, and report them at the end."""

from __future__ import annotations

import os
from typing import Any

import pytest

TOOLS = {
    "engine": "a Docker Engine",
    "browser": "Chromium",
    "postgres": "PostgreSQL",
    "root": "root on Linux, with nftables, btrfs-progs and gVisor",
    "promtool": "promtool (Debian package: prometheus)",
    "psql": "psql (Debian package: postgresql-client)",
    "openapi": "the Node packages in tests/openapi (python -m tests.openapi.tools installs them)",
}
SKIPPED = pytest.StashKey[dict[str, int]]()


def pytest_configure(config: pytest.Config) -> None:
    missing = os.environ.get("TESTS_WITHOUT", "").split()
    if missing and os.environ.get("CI"):
        raise pytest.UsageError("When CI is set, no test can be skipped: unset TESTS_WITHOUT.")
    if unknown := set(missing) - set(TOOLS):
        raise pytest.UsageError(
            f"TESTS_WITHOUT: unknown {', '.join(unknown)}; choose from {', '.join(TOOLS)}."
        )
    config.stash[SKIPPED] = dict.fromkeys(missing, 0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skipped, kept = [], []
    for item in items:
        missing = [name for name in config.stash[SKIPPED] if item.get_closest_marker(name)]
        (skipped if missing else kept).append(item)
        for name in missing[:1]:
            config.stash[SKIPPED][name] += 1
    if skipped:
        config.hook.pytest_deselected(items=skipped)
        items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the counts of a pytest-xdist worker, which are the same for each, to the controller."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["skipped"] = session.config.stash[SKIPPED]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[SKIPPED].update(getattr(node, "workeroutput", {}).get("skipped", {}))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    skipped = {name: count for name, count in config.stash[SKIPPED].items() if count}
    if skipped:
        terminalreporter.section("skipped: missing tools")
    for name, count in skipped.items():
        command = f"make test ARGS='-m {name}'"
        needed = "1 test needs" if count == 1 else f"{count} tests need"
        terminalreporter.line(f"{needed} {TOOLS[name]}. Run on a machine with it: {command}")
