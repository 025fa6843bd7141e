"""Whoever empties the stage waits until the server has answered, and lets nobody in meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock, Thread, current_thread
from typing import Any

from django.core.signals import request_finished, request_started
from pytest_django.live_server_helper import LiveServer

from tests.helpers.wait import wait_for

PATIENCE_SECONDS = 30


class LiveServerWithDoors(LiveServer):
    """A closed page leaves its last call in the server, which answers it though nobody listens.

    Such a call holds tables that a flush wants and wants others that the flush holds; PostgreSQL
    then ends one of the two. On SQLite it writes into the next scene.
    """

    def __init__(self, addr: str) -> None:
        self._inside: set[Thread] = set()
        self._door = RLock()
        # Both signals forget a server that nobody holds any more.
        request_started.connect(self._enter)
        request_finished.connect(self._leave)
        super().__init__(addr)

    def _enter(self, **_: Any) -> None:
        with self._door:
            self._inside.add(current_thread())

    def _leave(self, **_: Any) -> None:
        self._inside.discard(current_thread())

    def _busy(self) -> bool:
        """A thread whose caller hung up may have died without a word."""
        others = self._inside.copy() - {current_thread()}
        return any(thread.is_alive() for thread in others)

    @contextmanager
    def doors_closed(self) -> Iterator[None]:
        """No request is under way; raises `TimeoutError` if one takes longer than 30 s."""
        with self._door:
            wait_for(lambda: not self._busy(), "the server has answered", PATIENCE_SECONDS, 0.005)
            yield
