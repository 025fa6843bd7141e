"""A database that hangs is like one that is gone.

Neither `connect_timeout` nor TCP's own timeouts notice a server that is stopped: its kernel keeps
on acknowledging data. A statement timeout is the server's own. So the client has to stop waiting.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import psycopg
from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that is closed when the server hasn't answered for `answer_timeout` seconds.

    The caller gets OperationalError. Without this option, it waits without end.
    """

    def get_connection_params(self) -> dict[str, Any]:
        """Return the parameters of psycopg's connection."""
        params = super().get_connection_params()
        params.pop("answer_timeout", None)
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> psycopg.Connection[Any]:
        """Connect to the server."""
        connection: psycopg.Connection[Any] = super().get_new_connection(conn_params)
        if seconds := self.settings_dict["OPTIONS"].get("answer_timeout"):
            connection.wait = partial(  # type: ignore[method-assign]
                _wait, connection, connection.wait, seconds
            )
        return connection


def _wait(
    connection: psycopg.Connection[Any], wait: Any, seconds: float, gen: Any, **_: Any
) -> Any:
    try:
        return wait(gen, timeout=seconds)
    except psycopg.OperationalError as error:
        # An error without a code isn't the server's. What it answers later would be taken for the
        # answer to the next statement.
        if error.sqlstate is not None:
            raise
        connection.close()
        raise psycopg.OperationalError(f"no answer from the server for {seconds:g} s") from error
