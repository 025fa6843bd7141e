"""Whether the process is up, and whether the sandbox can be used."""

from __future__ import annotations

import msgspec
import psycopg2
from psycopg2.sql import SQL, Identifier

from .database import Cursor, Database, DatabaseUnavailable
from .database_errors import unavailable
from .web import Response

SEEDED_TABLES = ("plans", "subscribers", "invoices")


def healthz() -> Response:
    """The process is up. This asks nobody else."""
    return Response(body=b'{"status":"ok"}')


def readyz(database: Database) -> Response:
    """The database answers and its seed is there; says how many rows of each there are.

    Waits a moment for the database, so that who asks while both are being started is
    told at once when they are. Nobody can sign in to the database before the seed is in, so a
    count of nothing means that somebody deleted what was there.
    """
    try:
        counts = database.transaction(_counts, read_only=True)
    except (DatabaseUnavailable, psycopg2.Error) as error:
        raise unavailable(f"The database isn't ready: {str(error).strip()}") from error
    if not all(counts.values()):
        raise unavailable("The seed isn't there: reset the data of the sandbox.")
    return Response(body=msgspec.json.encode({"status": "ready", **counts}))


def _counts(cursor: Cursor) -> dict[str, int]:
    counts = [SQL("(SELECT count(*) FROM {})").format(Identifier(name)) for name in SEEDED_TABLES]
    cursor.execute(SQL("SELECT ") + SQL(", ").join(counts))
    return dict(zip(SEEDED_TABLES, cursor.fetchone() or (), strict=True))
