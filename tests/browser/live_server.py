"""A live server that holds requests while the database is emptied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock, Thread, current_thread
from typing import Any

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.signals import request_finished, request_started
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from pytest_django.live_server_helper import LiveServer

from tests.helpers.wait import wait_for

PATIENCE_SECONDS = 30


class CacheableStaticFiles(StaticFilesHandler):
    """Lets browsers cache static files, as in production."""

    def serve(self, request: HttpRequest) -> HttpResponseBase:
        response = super().serve(request)
        response["Cache-Control"] = "max-age=3600"
        return response


class PausableLiveServer(LiveServer):
    """A live server that can be paused between requests.

    The server still processes the last request of a page that was closed. On PostgreSQL, such a
    request and a flush of the database can deadlock; on SQLite, it writes into the data of the next
    test.
    """

    def __init__(self, addr: str) -> None:
        self._active_threads: set[Thread] = set()
        self._lock = RLock()
        # Both signals hold weak references, so a deleted server is disconnected.
        request_started.connect(self._on_request_started)
        request_finished.connect(self._on_request_finished)
        super().__init__(addr, start=False)
        self.thread.static_handler = CacheableStaticFiles
        self.start()

    def _on_request_started(self, **_: Any) -> None:
        with self._lock:
            self._active_threads.add(current_thread())

    def _on_request_finished(self, **_: Any) -> None:
        self._active_threads.discard(current_thread())

    def _has_active_requests(self) -> bool:
        """Return whether another thread handles a request.

        A thread whose client disconnected may have ended without `request_finished`.
        """
        others = self._active_threads.copy() - {current_thread()}
        return any(thread.is_alive() for thread in others)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold new requests after the active ones are finished.

        Raises `TimeoutError` if that takes longer than 30 s.
        """
        with self._lock:
            wait_for(
                lambda: not self._has_active_requests(),
                "all requests are finished",
                PATIENCE_SECONDS,
                0.005,
            )
            yield
