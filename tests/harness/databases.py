"""Databases that several threads share, as in production, and a fast way to empty them.

Tests that use only their own thread get a database from pytest-django: in memory, or on the servers
of `tests.harness.servers`.
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

from sandboxes.models import Engine
from tests.harness.postgres import Cluster, running_cluster
from tests.harness.servers import migrated_database, on_servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django.plugin import DjangoDbBlocker

T = TypeVar("T")

FILLED_BY_MIGRATE = {"auth_permission", "django_content_type", "django_migrations"}


def allow_deleting_audit_entries() -> None:
    """Drop the trigger of SQLite that would prevent emptying the audit log between tests."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER sandboxes_auditentry_no_delete")


def empty_database() -> None:
    """Delete all rows except those that `migrate` creates, and restart IDs at 1.

    Django's `flush` truncates every table and recreates permissions, which takes 0.1 s on
    PostgreSQL. This function changes only tables that have rows.
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
            # Without triggers: that of the audit log prevents deletion.
            cursor.execute("SET LOCAL session_replication_role = replica")
        for table in filled:
            cursor.execute(f"DELETE FROM {table}")
        _count_from_one(cursor, tables)
    Engine.default()


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
def _fast_teardown() -> Iterator[None]:
    """Empty the databases of tests with `transaction=True` with `empty_database`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: empty_database())
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Start a PostgreSQL cluster when the first test needs it."""
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    with django_db_blocker.unblock():
        allow_deleting_audit_entries()


@contextmanager
def _default_database(changes: dict[str, Any]) -> Iterator[None]:
    """Make new connections, of any thread, use this database."""
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
    """Return a migrated SQLite file to copy."""
    file = tmp_path_factory.mktemp("migrated") / "portal.sqlite3"
    with django_db_blocker.unblock(), _default_database({"NAME": str(file)}):
        call_command("migrate", verbosity=0)
        allow_deleting_audit_entries()
    return file


@contextmanager
def _threads_database(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    """Provide a database that several threads can use: on the servers, or SQLite in a file."""
    with django_db_blocker.unblock():
        if on_servers():
            with migrated_database() as url:
                changes = environ.Env.db_url_config(url) | {"OPTIONS": {}}
                with _default_database(changes):
                    yield
        else:
            file = tmp_path_factory.mktemp("database") / "portal.sqlite3"
            shutil.copy(request.getfixturevalue("_migrated_file"), file)
            with _default_database({"NAME": str(file)}):
                yield


@pytest.fixture(scope="module")
def threads_database(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    with _threads_database(request, tmp_path_factory, django_db_blocker):
        yield


@pytest.fixture
def shared_database(threads_database: None) -> Iterator[None]:
    """Provide a database that several threads can use, empty for each test."""
    yield
    empty_database()


@pytest.fixture
def disposable_database(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    """Provide a database whose schema the test may change."""
    with _threads_database(request, tmp_path_factory, django_db_blocker):
        yield


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a migrated database for processes that the test starts."""
    if on_servers():
        with migrated_database() as url:
            yield url
    else:
        file = tmp_path / "portal.sqlite3"
        shutil.copy(request.getfixturevalue("_migrated_file"), file)
        yield f"sqlite:///{file}"


def run_in_threads(count: int, act: Callable[[int], T]) -> list[T]:
    """Return the results of `act(0)`, `act(1)`…, each in its own thread, all started at once."""
    barrier = Barrier(count)

    def one(number: int) -> T:
        barrier.wait(timeout=30)
        try:
            return act(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count), timeout=120))
