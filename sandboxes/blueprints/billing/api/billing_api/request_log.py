"""The id of each request, and the request log: a line of JSON and a row of the database.

The blueprint counts the lines (`requests` in compose.yaml).
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
import psycopg2

from .database import Cursor, Database, DatabaseUnavailable

UNLOGGED_PATHS = {"/healthz", "/identity", "/readyz"}
"""Paths whose successful requests are not logged."""

REQUEST_ID = re.compile(r"[\w.:+/=@-]{1,128}", re.ASCII)
MAX_LENGTH = 500
"""Maximum length of a text from the request in a line, in characters."""

MAX_TEXT_LENGTH = 2000
"""Maximum length of a body or path in a row, in characters."""
KEPT_ROWS = 1000
ROWS_UNTIL_TRIM = 500
MAX_TABLE_BYTES = 40_000_000
"""Above this, nothing is written: a session of the developer keeps space from being freed."""
MAX_WAITING = 500
"""Rows that wait to be written; further requests are left out."""
WRITE_SECONDS = 0.2
"""Seconds in which rows are collected."""

SECRET = re.compile(
    r"\b(whsec|sk_test|sk_portal)_[\w+/=%\\-]+|\bS[A-Z2-7]{55}\b"
    r'|(?P<name>"(?:api_key|authorization|password|secret|token)"\s*:\s*)"(?:[^"\\]|\\.)*+"?',
    re.IGNORECASE,
)

INSERT = """
    INSERT INTO requests (method, path, status, duration_ms, request_id, request_body,
        response_body, replayable, created_at)
    SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s
    WHERE pg_total_relation_size('requests') < %s
"""
TRIM = "DELETE FROM requests WHERE number <= (SELECT max(number) FROM requests) - %s"


class Entry(NamedTuple):
    """A row of the request log."""

    method: str
    path: str
    status: int
    duration_ms: float
    request_id: str
    request_body: str
    response_body: str
    replayable: bool
    created_at: datetime


class RequestLog:
    """Writes requests to the database in a thread, so that no request waits for it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.on_written: Callable[[], None] = lambda: None
        """Called after each write: an event is listed once older transactions have ended."""
        self._waiting: deque[Entry] = deque()
        self._until_trim = ROWS_UNTIL_TRIM
        self._added = threading.Event()
        self._stopped = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end the thread."""
        self._stopped.set()
        self._added.set()
        self._thread.join(WRITE_SECONDS * 10)

    def add(self, entry: Entry) -> None:
        """Write an entry soon, unless too many wait."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(entry)
            self._added.set()

    def flush(self) -> None:
        """Write all entries that wait. They are lost if the database isn't available."""
        with self._writing:
            entries = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if not entries:
                return
            try:
                self._database.transaction(lambda cursor: _insert(cursor, entries))
                self._until_trim -= len(entries)
                if self._until_trim <= 0:
                    self._until_trim = ROWS_UNTIL_TRIM
                    self._database.transaction(lambda cursor: cursor.execute(TRIM, (KEPT_ROWS,)))
                    self._database.vacuum("requests")
            except (DatabaseUnavailable, psycopg2.Error):
                return
        self.on_written()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._added.wait()
            self._stopped.wait(WRITE_SECONDS)
            self._added.clear()
            self.flush()


def _insert(cursor: Cursor, entries: list[Entry]) -> None:
    cursor.executemany(INSERT, [(*entry, MAX_TABLE_BYTES) for entry in entries])


def request_id(environ: dict[str, Any]) -> str:
    """Return the id that the client sent, or a new one if it is missing or invalid."""
    for header in ("HTTP_REQUEST_ID", "HTTP_X_REQUEST_ID"):
        if REQUEST_ID.fullmatch(sent := environ.get(header, "")):
            return str(sent)
    return f"req_{os.urandom(12).hex()}"


def is_logged(environ: dict[str, Any], status: int) -> bool:
    """Return whether a request is the developer's, or failed by an error of the server."""
    # The portal marks requests that it sends on its own.
    expected = environ.get("PATH_INFO") in UNLOGGED_PATHS or environ.get("HTTP_SANDBOX_PORTAL")
    return not expected or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def log_request(environ: dict[str, Any], status: int, request_id: str, started: float) -> None:
    """Write a line for a request; `started` is in seconds of the monotonic clock."""
    if not is_logged(environ, status):
        return
    entry = {
        "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        "method": environ.get("REQUEST_METHOD", ""),
        "path": _path(environ)[:MAX_LENGTH],
        "status": status,
        "ms": _milliseconds(started),
        "request_id": request_id,
        "user_agent": environ.get("HTTP_USER_AGENT", "")[:MAX_LENGTH],
    }
    sys.stdout.write(msgspec.json.encode(entry).decode() + "\n")
    sys.stdout.flush()


def entry(
    environ: dict[str, Any],
    status: int,
    request_id: str,
    started: float,
    request_body: bytes,
    response_body: bytes,
) -> Entry:
    """Return the row of a request: without secrets, and with long texts cut."""
    query = environ.get("QUERY_STRING", "")
    path, whole_path = _shown(_path(environ) + (f"?{query}" if query else ""))
    sent, whole_body = _shown(request_body.decode(errors="replace"))
    answer, _ = _shown(response_body.decode(errors="replace"))
    return Entry(
        environ.get("REQUEST_METHOD", "")[:MAX_LENGTH],
        path,
        status,
        _milliseconds(started),
        request_id,
        sent,
        answer,
        whole_path and whole_body,
        datetime.now(UTC),
    )


def _shown(text: str) -> tuple[str, bool]:
    """Return a text for a row, and whether it is unchanged."""
    cleaned = SECRET.sub(_replacement, text.replace("\0", "\ufffd"))
    return cleaned[:MAX_TEXT_LENGTH], cleaned == text and len(text) <= MAX_TEXT_LENGTH


def _replacement(match: re.Match[str]) -> str:
    return f'{match["name"]}"[secret]"' if match["name"] else "[secret]"


def _path(environ: dict[str, Any]) -> str:
    # WSGI passes bytes as Latin-1.
    raw: str = environ.get("PATH_INFO", "")
    return raw.encode("latin-1", "replace").decode(errors="replace")


def _milliseconds(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)
