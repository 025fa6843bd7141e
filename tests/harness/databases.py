"""Databases that many threads share, as in service, and a quick way to empty them.

Tests that use only the thread of their own get a database from pytest-django: in memory, or on the
servers of `tests.harness.servers`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any, TypeVar

import environ
import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test import TransactionTestCase

from tests.harness.postgres import Cluster, running_cluster
from tests.harness.servers import migrated_database, on_servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django.plugin import DjangoDbBlocker

T = TypeVar("T")

FILLED_BY_MIGRATE = {"auth_permission", "django_content_type", "django_migrations"}


def let_tests_empty_it() -> None:
    """SQLite is emptied between tests by DELETE, which the audit's trigger would refuse."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER sandboxes_auditentry_no_delete")


def empty_database() -> None:
    """Remove all rows but those that `migrate` makes, and count ids from 1 again.

    Django's `flush` truncates every table and makes permissions again, which takes 0.1 s on
    PostgreSQL; here only tables that hold rows are touched.
    """
    tables = [
        name
        for name in connection.introspection.django_table_names(only_existing=True)
        if name not in FILLED_BY_MIGRATE
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join(
                f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in tables
            )
        )
        filled = [name for (name,) in cursor.fetchall()]
        if connection.vendor == "postgresql":
            # Without triggers: the audit refuses to be deleted.
            cursor.execute("SET LOCAL session_replication_role = replica")
        for table in filled:
            cursor.execute(f"DELETE FROM {table}")
        _count_from_one(cursor, tables)


def _count_from_one(cursor: Any, tables: list[str]) -> None:
    if connection.vendor == "sqlite":
        cursor.execute(f"DELETE FROM sqlite_sequence WHERE name IN {tuple(tables)}")
        return
    cursor.execute("SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL")
    ours = {f"{table}_id_seq" for table in tables}
    for (name,) in cursor.fetchall():
        if name in ours:
            cursor.execute("SELECT setval(%s, 1, false)", [name])


@pytest.fixture(scope="session", autouse=True)
def _quickly_emptied() -> Iterator[None]:
    """So are the databases of tests with `transaction=True`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: empty_database())
        yield


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
    """Connections that are made from now on, by any thread, lead to that database."""
    before, kept = connections.settings["default"], connections["default"]
    connections.settings["default"] = before | changes
    connections["default"] = connections.create_connection("default")
    try:
        yield
    finally:
        connections["default"].close()
        connections.settings["default"] = before
        connections["default"] = kept


@pytest.fixture(scope="session")
def _migrated_file(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Path:
    """A SQLite file to copy."""
    file = tmp_path_factory.mktemp("migrated") / "portal.sqlite3"
    with django_db_blocker.unblock(), _default_is({"NAME": str(file)}):
        call_command("migrate", verbosity=0)
        let_tests_empty_it()
    return file


@pytest.fixture(scope="module")
def threads_database(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    """A database that several threads can use: on the servers, or SQLite in a file."""
    with django_db_blocker.unblock():
        if on_servers():
            with migrated_database() as url:
                changes = environ.Env.db_url_config(url) | {"OPTIONS": {}}
                with _default_is(changes):
                    yield
        else:
            file = tmp_path_factory.mktemp("database") / "portal.sqlite3"
            shutil.copy(request.getfixturevalue("_migrated_file"), file)
            with _default_is({"NAME": str(file)}):
                yield


@pytest.fixture
def shared_database(threads_database: None) -> Iterator[None]:
    """One that is empty for each test."""
    yield
    empty_database()


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
