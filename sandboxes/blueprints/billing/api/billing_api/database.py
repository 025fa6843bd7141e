"""Connections to PostgreSQL, and transactions that survive a reset of the data."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import psycopg2
from psycopg2 import extensions
from psycopg2.sql import SQL, Identifier

__all__ = ["Cursor", "Database", "DatabaseUnavailable"]

MAX_IDLE_CONNECTIONS = 2
RETRY_INTERVAL = 0.01
"""Seconds between attempts to connect."""

Connection = extensions.connection
Cursor = extensions.cursor

# A developer's own session may hold a lock for any time; requests must not wait for it.
# Defaults that the developer sets for the database must not change how the API works.
OPTIONS = " ".join(
    f"-c {setting}"
    for setting in (
        "timezone=UTC",
        "search_path=public",
        "lock_timeout=3s",
        "statement_timeout=10s",
        "idle_in_transaction_session_timeout=30s",
    )
)

Result = TypeVar("Result")


class DatabaseUnavailable(Exception):
    """PostgreSQL doesn't respond, or the connection broke during a commit."""


class Database:
    """A thread-safe pool of PostgreSQL connections; the last used connection is reused first."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: deque[Connection] = deque()

    def transaction(
        self, function: Callable[[Cursor], Result], *, read_only: bool = False, timeout: float = 2.0
    ) -> Result:
        """Run ``function`` in a transaction and commit it.

        A reset of the data closes every connection. If the connection breaks before the
        commit, nothing has been stored, so ``function`` runs again on a new connection, for
        up to ``timeout`` seconds. If it breaks during the commit, only a ``read_only``
        function runs again. Raises DatabaseUnavailable if the retries fail.
        """
        deadline = time.monotonic() + timeout
        while True:
            idle = self._take_idle()
            try:
                return self._run(idle or self._connect(), function, read_only=read_only)
            except psycopg2.OperationalError as error:
                if not _is_transient(error):
                    raise
                # A connection that broke while idle says nothing about new connections.
                if not idle:
                    _pause(deadline, error)

    def vacuum(self, table: str) -> None:
        """Free the space of deleted rows. Raises psycopg2.Error."""
        connection = self._take_idle() or self._connect()
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(SQL("VACUUM {}").format(Identifier(table)))
        finally:
            connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        while connection := self._take_idle():
            connection.close()

    def _run(
        self, connection: Connection, function: Callable[[Cursor], Result], *, read_only: bool
    ) -> Result:
        try:
            with connection.cursor() as cursor:
                result = function(cursor)
            self._commit(connection, read_only=read_only)
        except BaseException:
            self._discard(connection)
            raise
        self._release(connection)
        return result

    def _connect(self) -> Connection:
        return psycopg2.connect(
            self._url, connect_timeout=3, options=OPTIONS, application_name="billing-api"
        )

    def _commit(self, connection: Connection, *, read_only: bool) -> None:
        try:
            connection.commit()
        except psycopg2.OperationalError as error:
            if read_only:
                raise
            raise DatabaseUnavailable(_first_line(error)) from error

    def _take_idle(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _release(self, connection: Connection) -> None:
        if len(self._idle) < MAX_IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()

    def _discard(self, connection: Connection) -> None:
        """Roll back. If the connection is broken, close the idle connections, too."""
        try:
            connection.rollback()
        except psycopg2.Error:
            connection.close()
            self.close()
        else:
            self._release(connection)


def _pause(deadline: float, error: psycopg2.OperationalError) -> None:
    if time.monotonic() + RETRY_INTERVAL > deadline:
        raise DatabaseUnavailable(_first_line(error)) from error
    time.sleep(RETRY_INTERVAL)


def _is_transient(error: psycopg2.OperationalError) -> bool:
    """Return whether a retry may help: no connection, a broken connection, or a deadlock."""
    code = error.pgcode or ""
    return not code or code.startswith(("08", "57P", "40"))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
