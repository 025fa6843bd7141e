"""Databases like those in service, which many threads share; the default of tests is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import TYPE_CHECKING, Any, TypeVar

import environ
import pytest
from django.core.management import call_command
from django.db import connections

from tests.postgres import Cluster, running_cluster
from tests.servers import on_servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django.plugin import DjangoDbBlocker

T = TypeVar("T")


def let_tests_empty_it() -> None:
    """SQLite is emptied between tests by DELETE, which the audit's trigger would refuse."""
    if connections["default"].vendor == "sqlite":
        with connections["default"].cursor() as cursor:
            cursor.execute("DROP TRIGGER sandboxes_auditentry_no_delete")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Started once, when the first test asks for it."""
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    with django_db_blocker.unblock():
        let_tests_empty_it()


@contextmanager
def _default_is(changes: dict[str, Any]) -> Iterator[None]:
    """Connections that are made from now on, by any thread, lead to that database, migrated."""
    before, kept = connections.settings["default"], connections["default"]
    connections.settings["default"] = before | changes
    connections["default"] = connections.create_connection("default")
    try:
        call_command("migrate", verbosity=0)
        let_tests_empty_it()
        yield
    finally:
        connections["default"].close()
        connections.settings["default"] = before
        connections["default"] = kept


@pytest.fixture(scope="module")
def file_database(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """SQLite in a file, opened as the portal opens it."""
    file = tmp_path_factory.mktemp("database") / "portal.sqlite3"
    with django_db_blocker.unblock(), _default_is({"NAME": str(file)}):
        yield


@pytest.fixture(scope="module")
def postgres_database(cluster: Cluster, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """An empty database on the private PostgreSQL cluster."""
    with cluster.database() as url:
        changes = environ.Env.db_url_config(url) | {"OPTIONS": {}}
        with django_db_blocker.unblock(), _default_is(changes):
            yield


@pytest.fixture(
    scope="module",
    params=["file_database", pytest.param("postgres_database", marks=pytest.mark.postgres)],
)
def _either_database(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def threads_database(request: pytest.FixtureRequest) -> None:
    """The kind that these tests run on, where several threads can use it."""
    request.getfixturevalue("postgres_database" if on_servers() else "file_database")


@pytest.fixture
def shared_database(_either_database: None) -> Iterator[None]:
    """First the one, then the other; empty for each test."""
    yield
    call_command("flush", interactive=False, verbosity=0)


def at_once(count: int, act: Callable[[int], T]) -> list[T]:
    """Results of `act(0)`, `act(1)`…, each in a thread of its own, all let go at one moment."""
    barrier = Barrier(count)

    def one(number: int) -> T:
        barrier.wait(timeout=30)
        try:
            return act(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count), timeout=120))
