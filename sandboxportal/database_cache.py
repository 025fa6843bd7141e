"""The cache in the database, and JSON as the format of all caches that processes share.

Django's own backends store pickles, so a process that can write the cache could make the others
run code. Values are limited to what JSON has; tuples are read back as lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import structlog
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.db import DatabaseCache as DjangoDatabaseCache
from django.db import connections, router

log = structlog.get_logger(__name__)

MAX_ENTRIES = 10_000
"""Rows of the database cache before it drops some; Django's 300 would drop rate limits early."""
FOREVER = datetime(9999, 12, 31, tzinfo=UTC)


class JSONSerializer:
    """Serializer of cached values."""

    def dumps(self, value: Any) -> str:
        """Return the value as JSON. Raises TypeError or ValueError if JSON can't represent it."""
        return json.dumps(value, allow_nan=False)

    def loads(self, text: str | bytes) -> Any:
        """Return the value. Raises ValueError if the text isn't JSON, such as an old pickle."""
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ValueError("JSON is nested too deeply") from error


def parse_entries(rows: Iterable[tuple[str, str | bytes]]) -> dict[str, Any]:
    """Return the values by name, without those that aren't JSON."""
    values = {}
    for name, text in rows:
        try:
            values[name] = JSONSerializer().loads(text)
        except ValueError:
            log.warning("cache_entry_unreadable", key=name)
    return values


class DatabaseCache(DjangoDatabaseCache):
    """Django's database cache, with JSON values, and written by one statement."""

    _table: str

    def __init__(self, table: str, params: dict[str, Any]) -> None:
        super().__init__(table, params)
        if "MAX_ENTRIES" not in params.get("OPTIONS", {}):
            self._max_entries = MAX_ENTRIES

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        names = {self.make_and_validate_key(key, version): key for key in keys}
        if not names:
            return {}
        connection = connections[router.db_for_read(self.cache_model_class)]
        table = connection.ops.quote_name(self._table)
        marks = ", ".join(["%s"] * len(names))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT cache_key, value FROM {table} "  # noqa: S608 - the table's name is ours
                f"WHERE cache_key IN ({marks}) AND expires > %s",
                [*names, connection.ops.adapt_datetimefield_value(_now())],
            )
            rows = cursor.fetchall()
        values = parse_entries(rows)
        if unreadable := [name for name, _ in rows if name not in values]:
            self._base_delete_many(unreadable)  # type: ignore[attr-defined]
        return {names[name]: value for name, value in values.items()}

    def _base_set(self, mode: str, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT) -> bool:
        """Write an entry and return True, or return False if `add` finds one or `touch` none."""
        database = router.db_for_write(self.cache_model_class)
        connection = connections[database]
        table, adapt = (
            connection.ops.quote_name(self._table),
            connection.ops.adapt_datetimefield_value,
        )
        seconds, now = self.get_backend_timeout(timeout), _now()
        expires = FOREVER if seconds is None else datetime.fromtimestamp(int(seconds), UTC)
        with connection.cursor() as cursor:
            if mode == "touch":
                cursor.execute(
                    f"UPDATE {table} SET expires = %s WHERE cache_key = %s AND expires > %s",  # noqa: S608
                    [adapt(expires), key, adapt(now)],
                )
                return bool(cursor.rowcount)
            cursor.execute(f"SELECT COUNT(*) FROM {table}")  # noqa: S608
            (count,) = cursor.fetchone()
            if count > self._max_entries:
                self._cull(database, cursor, now, count)  # type: ignore[attr-defined]
            only_expired = f"WHERE {table}.expires <= %s" if mode == "add" else ""
            cursor.execute(
                f"INSERT INTO {table} (cache_key, value, expires) VALUES (%s, %s, %s) "  # noqa: S608
                "ON CONFLICT (cache_key) DO UPDATE "
                f"SET value = excluded.value, expires = excluded.expires {only_expired}",
                [
                    key,
                    JSONSerializer().dumps(value),
                    adapt(expires),
                    *([adapt(now)] if mode == "add" else []),
                ],
            )
            return bool(cursor.rowcount)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
