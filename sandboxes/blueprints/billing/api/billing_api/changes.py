"""Requests that wait for a change of the data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Condition

MAX_WAITING = 2
"""Requests that wait at the same time; the other threads of the server stay free."""
CHECK_SECONDS = 1.0
"""Seconds until a request that waits looks again: the API is not notified of changes in SQL."""


class Changes:
    """Wakes requests that wait when the API has changed something."""

    def __init__(self) -> None:
        self.count = 0
        """Changes so far."""
        self._changed = Condition()
        self._stopped = False
        self._places = BoundedSemaphore(MAX_WAITING)

    def announce(self) -> None:
        """Wake all requests that wait, since the data has changed."""
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Let no request wait any longer."""
        self._stopped = True
        self.announce()

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[float]:
        """Yield the time until which a request may wait: none if enough others do."""
        taken = self._places.acquire(blocking=False)
        try:
            yield time.monotonic() + (seconds if taken and not self._stopped else 0.0)
        finally:
            if taken:
                self._places.release()

    def wait(self, seen: int, deadline: float) -> None:
        """Wait for a change after the first `seen` ones, at most until it is time to look again."""
        with self._changed:
            if self.count == seen:
                self._changed.wait(min(deadline - time.monotonic(), CHECK_SECONDS))

    def may_wait(self, deadline: float) -> bool:
        """Return whether there is time left."""
        return not self._stopped and time.monotonic() < deadline
