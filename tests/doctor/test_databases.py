"""Checks of the database and the cache."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from sandboxes.doctor import databases
from sandboxes.doctor.findings import Level
from tests.doctor.findings import FINE, WARNING, WRONG, levels, the_one

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

pytestmark = pytest.mark.store


@pytest.mark.django_db
def test_the_database_is_checked() -> None:
    found = list(databases.database())
    assert found[-1].message == "All migrations are applied."
    if connection.vendor == "sqlite":
        # Tests have it in memory.
        assert levels(found) == [FINE, WRONG, FINE]
    else:
        assert levels(found) == [FINE, FINE, FINE, FINE]


@pytest.mark.parametrize(
    ("journal", "transactions", "level"),
    [("wal", "IMMEDIATE", FINE), ("delete", "IMMEDIATE", WRONG), ("wal", None, WRONG)],
)
def test_sqlite_needs_wal_and_immediate_transactions(
    journal: str, transactions: str | None, level: Level
) -> None:
    assert databases.sqlite_mode(journal, transactions).level is level


def test_few_remaining_connections_are_reported() -> None:
    assert databases.connection_usage(10, 100).level is FINE
    assert databases.connection_usage(80, 100).level is WARNING


def test_more_threads_than_connections_are_reported(settings: SettingsWrapper) -> None:
    settings.WEB_THREADS, settings.CELERY_WORKER_CONCURRENCY = 24, 33
    assert databases.connection_bound(100, web_workers=2).level is FINE
    finding = the_one([databases.connection_bound(100, web_workers=3)], WARNING)
    assert "at most 115 connections (72 of web, 33 of a worker, 10 of others)" in finding.message


@pytest.mark.django_db
def test_an_unapplied_migration_is_an_error() -> None:
    (last,) = MigrationLoader(connection).graph.leaf_nodes("sandboxes")
    MigrationRecorder(connection).record_unapplied(*last)
    finding = the_one([databases.migrations()], WRONG)
    assert ".".join(last) in finding.message
    assert "manage.py prepare" in finding.remedy


def test_a_cache_per_process_is_an_error(settings: SettingsWrapper) -> None:
    backend = settings.CACHES["default"]["BACKEND"]
    expected = WRONG if "locmem" in backend else FINE
    assert levels(databases.shared_cache()) == [expected]


def test_a_cache_that_does_not_store_is_an_error(settings: SettingsWrapper, tmp_path: Path) -> None:
    backend = "django.core.cache.backends.filebased.FileBasedCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": str(tmp_path)}}
    assert levels(databases.shared_cache()) == [FINE]
    elsewhere = {"KEY_FUNCTION": lambda *_: secrets.token_hex(8)}
    settings.CACHES = {"default": settings.CACHES["default"] | elsewhere}
    assert "store values" in the_one(databases.shared_cache(), WRONG).message
