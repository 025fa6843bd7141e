"""Which tests are worth running a second time, on PostgreSQL and Redis (`tests.servers`).

Those are the tests that use what differs there: the portal's database, its queue, its cache, or
processes of a portal of their own. What a test uses its fixtures tell, so nobody keeps a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import on_servers

CHOSEN = {"_either_database", "file_database", "embedded_queue"}
"""Fixtures that choose a store by themselves, whatever the settings say."""
STORES = {"no_worker", "threads_database"}
"""Fixtures that lead to the stores of the settings, as all of Django's about databases do."""
PORTALS = {"own_stores", "running_portal"}
"""Functions that make stores for a portal; who calls one of them uses stores."""


def uses_stores(item: pytest.Item) -> bool:
    """Whether it might come to another result on other stores."""
    if not isinstance(item, pytest.Function):
        return False
    if CHOSEN.intersection(item.fixturenames):
        # On both databases it ran, but with the queue of the first run.
        return "no_worker" in item.fixturenames and "postgres_database" in item.name
    return bool(
        item.get_closest_marker("django_db")
        or STORES.intersection(item.fixturenames)
        or any(_leads_to_stores(function) for function in _functions(item))
    )


def _functions(item: pytest.Function) -> Iterator[Any]:
    """The test's own, and those of its fixtures."""
    yield item.obj
    for name in item.fixturenames:
        for definition in item._fixtureinfo.name2fixturedefs.get(name, ())[-1:]:
            yield definition.func


def _leads_to_stores(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    databases = function.__module__ == "pytest_django.fixtures" and "db" in function.__name__
    return databases or bool(PORTALS.intersection(code.co_names))


def pytest_report_header() -> str:
    return f"stores: {'PostgreSQL and Redis' if on_servers() else 'SQLite, no servers'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not on_servers():
        return
    kept = [item for item in items if uses_stores(item)]
    if left := [item for item in items if not uses_stores(item)]:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    """That none of the tests asked for uses stores is no failure of this run."""
    if on_servers() and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK
