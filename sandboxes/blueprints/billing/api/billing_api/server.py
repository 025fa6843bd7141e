"""The HTTP server: waitress with few threads, and errors as problem details."""

from __future__ import annotations

import logging
import socket

from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from .app import COMMON_HEADERS, Application
from .database import Database
from .settings import Settings
from .web import Problem, status_line

THREADS = 4
MAX_READ_BYTES = 1024 * 1024
"""Maximum bytes that waitress reads; above MAX_BODY_BYTES, so that the API can send a 413."""


class ProblemTask(ErrorTask):  # type: ignore[misc]
    """Errors of waitress itself, before a request reaches the application."""

    def execute(self) -> None:
        """Send a problem and close the connection."""
        error = self.request.error
        response = Problem(error.code, f"{error.reason}: {error.body}.").response()
        self.status = status_line(error.code)
        self.response_headers.extend(COMMON_HEADERS)
        self.response_headers.append(("Content-Type", response.content_type))
        self.content_length = len(response.body)
        self.response_headers.append(("Content-Length", str(self.content_length)))
        self.set_close_on_finish()
        self.write(response.body)


def serve(settings: Settings, listener: socket.socket) -> None:
    """Print the address and serve until SystemExit."""
    logging.basicConfig(level=logging.ERROR)
    database = Database(settings.database_url)
    HTTPChannel.error_task_class = ProblemTask
    server = create_server(
        Application(settings, database),
        sockets=[listener],
        threads=THREADS,
        ident=None,
        max_request_body_size=MAX_READ_BYTES,
        inbuf_overflow=MAX_READ_BYTES,
        outbuf_overflow=MAX_READ_BYTES,
        asyncore_use_poll=True,
    )
    print(f"Listening on {settings.host}:{settings.port}", flush=True)
    try:
        server.run()
    finally:
        database.close()
