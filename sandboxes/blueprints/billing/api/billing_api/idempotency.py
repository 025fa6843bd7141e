"""Requests with an `Idempotency-Key`: a repetition gets the response of the first request.

The keys are rows of the sandbox's own database, written in the transaction of the request. So a
request that fails leaves no key, one that is repeated while the first still runs waits for it,
and a reset of the data forgets all keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from .database import Cursor
from .web import invalid

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255
KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_LENGTH}}}")
RETENTION = "24 hours"
MAX_KEYS = 10_000
"""Number of keys that are kept; the oldest are forgotten first."""

FORGET = """
    DELETE FROM idempotency_keys WHERE created_at < now() - %s::interval
        OR number <= (SELECT max(number) FROM idempotency_keys) - %s
"""
# The update changes nothing: it waits for a request with the same key, and returns its row.
RESERVE = """
    INSERT INTO idempotency_keys (route, key, request_hash) VALUES (%s, %s, sha256(%s))
    ON CONFLICT (route, key) DO UPDATE SET key = excluded.key
    RETURNING request_hash = sha256(%s), response
"""
STORE = "UPDATE idempotency_keys SET response = %s WHERE route = %s AND key = %s"


class Outcome(NamedTuple):
    """The body of a response, and whether an earlier request caused it."""

    body: bytes
    replayed: bool = False


def parse_key(header: str | None) -> str:
    """Return the key, or an empty string without the header. Raises a 422 problem."""
    if header is None:
        return ""
    if not KEY.fullmatch(header):
        raise invalid(HEADER, f"must be 1 to {MAX_KEY_LENGTH} visible ASCII characters")
    return header


def run_once(
    cursor: Cursor, route: str, key: str, request: bytes, run: Callable[[], bytes]
) -> Outcome:
    """Run a request and store its response, or return the response that is stored.

    ``route`` is the method and path; keys of different routes are independent. Raises a 422
    problem if the key belongs to a different ``request``.
    """
    cursor.execute(FORGET, (RETENTION, MAX_KEYS))
    cursor.execute(RESERVE, (route, key, request, request))
    is_same, response = cursor.fetchone() or (True, None)
    if not is_same:
        raise invalid(HEADER, "This Idempotency-Key was already used with a different request.")
    if response is not None:
        return Outcome(response.encode(), replayed=True)
    outcome = Outcome(run())
    cursor.execute(STORE, (outcome.body.decode(), route, key))
    return outcome
