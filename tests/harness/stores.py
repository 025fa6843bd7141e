"""Selection of tests by store.

A full run uses PostgreSQL and Redis (`tests.harness.servers`). With `--store-tests`, as in the
second run of `make test` on SQLite and the embedded queue, only tests marked `store` run. They
depend on the database, the queue or the cache, or on several processes that share them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.servers import on_servers


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store-tests", action="store_true", help="run only the tests marked `store`")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Don't import test files that have no such test."""
    if not config.getoption("--store-tests") or not collection_path.match("test_*.py"):
        return None
    return True if "mark.store" not in collection_path.read_text() else None


def pytest_report_header() -> str:
    return f"stores: {'PostgreSQL and Redis' if on_servers() else 'SQLite, no servers'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--store-tests"):
        return
    kept = [item for item in items if item.get_closest_marker("store")]
    if left := [item for item in items if not item.get_closest_marker("store")]:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Succeed if no test depends on the stores."""
    empty = session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED
    if empty and session.config.getoption("--store-tests"):
        session.exitstatus = pytest.ExitCode.OK
