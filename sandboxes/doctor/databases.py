"""The database and the cache."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from redis.exceptions import RedisError

from sandboxes.doctor.findings import Finding, Findings, error, ok, redacted, warning
from sandboxes.metrics import dependencies

LOCAL_CACHES = ("locmem", "dummy")
MANY_CONNECTIONS_SHARE = 0.8
DEFAULT_WEB_WORKERS = 2
OTHER_CONNECTIONS = 10
"""Of the reaper, commands, and an administrator."""


def database() -> Findings:
    connection.ensure_connection()
    if connection.vendor == "sqlite":
        yield from _sqlite()
    else:
        yield from _postgres()
    yield migrations()


def _sqlite() -> Findings:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        (mode,) = cursor.fetchone()
        cursor.execute("SELECT sqlite_version()")
        (version,) = cursor.fetchone()
    yield ok(f"SQLite {version}, for a single machine. Use PostgreSQL for more.")
    yield sqlite_mode(mode, connection.settings_dict.get("OPTIONS", {}).get("transaction_mode"))


def sqlite_mode(journal: str, transactions: str | None) -> Finding:
    if (journal, transactions) == ("wal", "IMMEDIATE"):
        return ok("The database allows concurrent processes (WAL, IMMEDIATE).")
    words = f"Writes will fail with journal_mode {journal} and transaction_mode {transactions}."
    return error(words, "Keep VAR_DIR on a local disk, and don't change the database's options.")


def _postgres() -> Findings:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        (version,) = cursor.fetchone()
    yield ok(f"PostgreSQL {version}.")
    if found := dependencies.database_connections():
        yield connection_usage(found.used, found.maximum)
        yield connection_bound(found.maximum)


def connection_usage(used: int, most: int) -> Finding:
    words = f"{used} of {most} connections are in use."
    if used < MANY_CONNECTIONS_SHARE * most:
        return ok(words)
    return warning(words, "Raise max_connections, or lower WEB_THREADS and WORKER_THREADS.")


def connection_bound(most: int, web_workers: int | None = None) -> Finding:
    """Compare the connections that all threads together can open with what the server accepts."""
    workers = web_workers or int(os.environ.get("WEB_WORKERS", DEFAULT_WEB_WORKERS))
    web = workers * settings.WEB_THREADS
    worker = settings.CELERY_WORKER_CONCURRENCY
    bound = web + worker + OTHER_CONNECTIONS
    words = (
        f"The portal opens at most {bound} connections ({web} of web, {worker} of a worker, "
        f"{OTHER_CONNECTIONS} of others); the server accepts {most}."
    )
    if bound <= most:
        return ok(words)
    return warning(
        words, "Raise max_connections, or lower WEB_WORKERS, WEB_THREADS and WORKER_THREADS."
    )


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not plan:
        return ok("All migrations are applied.")
    names = ", ".join(f"{step.app_label}.{step.name}" for step, _ in plan[:3])
    return error(f"{len(plan)} migrations are not applied: {names}…", "Run `manage.py prepare`.")


def shared_cache() -> Findings:
    backend = settings.CACHES["default"]["BACKEND"]
    if any(kind in backend for kind in LOCAL_CACHES):
        yield error(
            "Each process has its own cache, so rate limits apply per process.",
            "Unset CACHE_URL to use the database, or set it to Redis.",
        )
        return
    ping: Callable[[], None] | None = getattr(cache, "ping", None)
    if ping:
        try:
            ping()
        except (RedisError, OSError) as exc:
            yield error(
                f"The cache server doesn't respond: {redacted(exc)}. Until it does, each process "
                "counts for rate limits on its own, and logs can't be shown.",
                "Start or restart Redis, or correct CACHE_URL.",
            )
            return
    key = f"doctor-{secrets.token_hex(8)}"
    cache.set(key, "value", 60)
    kept = cache.get(key)
    cache.delete(key)
    if kept != "value":
        yield error("The cache doesn't store values.", "Check the cache server and CACHE_URL.")
        return
    yield ok(f"The cache is shared by all processes ({backend.rpartition('.')[2]}).")
