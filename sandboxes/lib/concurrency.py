"""Limits of concurrent requests that wait, so that they never occupy all threads of a process.

Each place of the web process that waits for something else has a limit: launches with
`Prefer: wait`, requests to sandboxes, log reads, and clients that wait for events. Together they
leave a sixth of the threads for pages and `/healthz`, or one; a test adds them up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Lock

from django.conf import settings

from sandboxes.lib.exceptions import Unavailable


class ConcurrencyLimit:
    """A limit for this process, and one for each user."""

    def __init__(self, total: int, per_user: int) -> None:
        self.total = total
        self._per_user = per_user
        self._in_use = Counter[Hashable]()
        self._lock = Lock()

    @classmethod
    def share_of_web_threads(cls, share: float, per_user: int) -> ConcurrencyLimit:
        """Return a limit of this share of the threads of a web process."""
        return cls(max(1, int(settings.WEB_THREADS * share)), per_user)

    @contextmanager
    def slot(self, user: Hashable) -> Iterator[None]:
        """Reserve a slot during the block. Raises Unavailable at once if none is free."""
        with self._lock:
            if self._in_use.total() >= self.total or self._in_use[user] >= self._per_user:
                raise Unavailable("Too many concurrent requests. Try again in a moment.")
            self._in_use[user] += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_use[user] -= 1
                self._in_use += Counter()  # Drops zero counts.
