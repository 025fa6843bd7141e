"""A circuit breaker: after a failure, pause calls to a server so that each caller needn't wait."""

from __future__ import annotations

import threading
from time import monotonic


class CircuitBreaker:
    """Pauses calls for `pause_seconds` after a failure, then lets one call at a time try again."""

    def __init__(self, pause_seconds: float) -> None:
        self.pause_seconds = pause_seconds
        self._lock = threading.Lock()
        self._paused_until: float | None = None

    def allows_call(self) -> bool:
        """Return whether to call the server now.

        After the pause, only the first caller gets True; its result decides for the others.
        """
        with self._lock:
            if self._paused_until is None:
                return True
            if monotonic() < self._paused_until:
                return False
            self._paused_until = monotonic() + self.pause_seconds
            return True

    def record_failure(self) -> None:
        with self._lock:
            self._paused_until = monotonic() + self.pause_seconds

    def record_success(self) -> None:
        with self._lock:
            self._paused_until = None
