"""Liveness and readiness checks."""

from __future__ import annotations

import hmac
import re
from urllib.parse import parse_qsl

import msgspec
import psycopg2
from psycopg2.sql import SQL, Identifier

from .database import Cursor, Database, DatabaseUnavailable
from .web import Problem, Response, unavailable

CHALLENGE = re.compile(r"[0-9a-f]{64}")
SEEDED_TABLES = ("plans", "subscribers", "invoices")


def healthz() -> Response:
    """Report that the process is running, without checking its dependencies."""
    return Response(body=b'{"status":"ok"}')


def identity(key: bytes, query: str) -> Response:
    """Prove that the API has its key, without telling it.

    The portal asks before it sends the key, as the port of a sandbox that has stopped may
    belong to another program by now.
    """
    challenge = dict(parse_qsl(query)).get("challenge", "")
    if not CHALLENGE.fullmatch(challenge):
        raise Problem(422, "challenge: send 64 hexadecimal digits.")
    proof = hmac.digest(key, f"sandbox-identity:{challenge}".encode(), "sha256").hex()
    return Response(body=proof.encode(), content_type="text/plain")


def readyz(database: Database, scenario: str) -> Response:
    """Report that the database responds and contains data, with the row counts.

    Waits briefly for the database, so that a check during startup succeeds as soon as both
    are up. The database accepts no connections before it is seeded, so an empty table means
    that its rows were deleted, except in the scenario that starts with plans only.
    """
    try:
        counts = database.transaction(_counts, read_only=True)
    except (DatabaseUnavailable, psycopg2.Error) as error:
        raise unavailable(f"The database isn't ready: {str(error).strip()}") from error
    if not (counts["plans"] if scenario == "empty" else all(counts.values())):
        raise unavailable("The seed data is missing; reset the data of the sandbox.")
    return Response(body=msgspec.json.encode({"status": "ready", **counts}))


def _counts(cursor: Cursor) -> dict[str, int]:
    counts = [SQL("(SELECT count(*) FROM {})").format(Identifier(name)) for name in SEEDED_TABLES]
    cursor.execute(SQL("SELECT ") + SQL(", ").join(counts))
    return dict(zip(SEEDED_TABLES, cursor.fetchone() or (), strict=True))
