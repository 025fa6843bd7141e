"""Bounded work on due rows, so that work which waits for other servers leaves threads for the rest.

A message only wakes a worker. Such work is therefore done in batches: the message of a batch that
already uses all of its threads ends at once, and one of these threads takes up its row.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import BoundedSemaphore, Event

from django.conf import settings

stopping = Event()
"""Set when this process shuts down: batches then end after the row that they are processing."""


class Batch:
    """Work of one kind on due rows, by a bounded number of this process's threads.

    `settings.WORKER_BATCH_THREADS` has the number by the batch's name.
    """

    def __init__(self, name: str) -> None:
        self._threads = BoundedSemaphore(settings.WORKER_BATCH_THREADS[name])
        self._requested = Event()

    def run(self, process_next: Callable[[], bool]) -> None:
        """Call the function until it returns False, which means that it found nothing to do.

        Stop earlier if the process shuts down.

        Return at once if enough threads do so already. Rows that become due meanwhile are not
        missed: a thread looks again before it ends if the batch was requested since it last began.
        """
        self._requested.set()
        # Another request may come between the last look and the release.
        while self._requested.is_set() and self._threads.acquire(blocking=False):
            try:
                self._requested.clear()
                while not stopping.is_set() and process_next():
                    pass
            finally:
                self._threads.release()

    def run_once(self, process_all: Callable[[], object]) -> None:
        """Call the function, which does all that is to do, as `run` does."""

        def process() -> bool:
            process_all()
            return False

        self.run(process)
