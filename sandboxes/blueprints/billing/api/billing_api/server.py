"""The HTTP server: waitress with few threads, and errors as problem details."""

from __future__ import annotations

import logging
import signal
import socket
import time
from typing import Any

from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from .app import COMMON_HEADERS, Application
from .cycle.timekeeper import Timekeeper
from .database import Database
from .request_log import RequestLog, log_request, request_id
from .settings import Settings
from .web import Problem, status_line

THREADS = 6
"""Some may wait: for events, or with a delay that a fault adds."""
MAX_READ_BYTES = 1024 * 1024
"""Maximum bytes that waitress reads; above MAX_BODY_BYTES, so that the API can send a 413."""


class ProblemTask(ErrorTask):  # type: ignore[misc]
    """Errors of waitress itself, before a request reaches the application."""

    def execute(self) -> None:
        """Send a problem and close the connection."""
        error, environ = self.request.error, _environ(self.request)
        identifier = request_id(environ)
        response = Problem(error.code, f"{error.reason}: {error.body}.").response()
        self.status = status_line(error.code)
        self.content_length = len(response.body)
        self.response_headers += [
            *COMMON_HEADERS,
            ("Request-Id", identifier),
            ("Content-Type", response.content_type),
            ("Content-Length", str(self.content_length)),
        ]
        self.set_close_on_finish()
        log_request(environ, error.code, identifier, time.monotonic())
        self.write(response.body)


def _environ(request: Any) -> dict[str, Any]:
    """Return what was parsed of an invalid request."""
    environ = {f"HTTP_{name}": value for name, value in request.headers.items()}
    environ["REQUEST_METHOD"] = getattr(request, "command", "")
    environ["PATH_INFO"] = getattr(request, "path", "")
    return environ


def serve(settings: Settings, listener: socket.socket) -> None:
    """Print the address and serve until SystemExit."""
    logging.basicConfig(level=logging.ERROR)
    database = Database(settings.database_url)
    HTTPChannel.error_task_class = ProblemTask
    timekeeper = Timekeeper(database)
    requests = RequestLog(database)
    application = Application(settings, database, requests, timekeeper.wake)

    def stop(*_: object) -> None:
        # The server waits for its threads when it ends.
        application.stop_waiting()
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    server = create_server(
        application,
        sockets=[listener],
        threads=THREADS,
        ident=None,
        max_request_body_size=MAX_READ_BYTES,
        inbuf_overflow=MAX_READ_BYTES,
        outbuf_overflow=MAX_READ_BYTES,
        asyncore_use_poll=True,
    )
    print(f"Listening on {settings.host}:{settings.port}", flush=True)
    timekeeper.start()
    requests.start()
    try:
        server.run()
    finally:
        timekeeper.stop()
        requests.stop()
        database.close()
