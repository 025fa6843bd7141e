"""How many requests may be under way at once: a sandbox that hangs must not take all threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Lock

from sandboxes.lib.exceptions import Unavailable


class ConcurrencyLimit:
    """So many in this process, and so many of them for one person."""

    def __init__(self, total: int, per_user: int) -> None:
        self._total = total
        self._per_user = per_user
        self._in_use = Counter[Hashable]()
        self._lock = Lock()

    @contextmanager
    def slot(self, user: Hashable) -> Iterator[None]:
        """A turn for as long as the block runs. Raises Unavailable: nobody waits for one."""
        with self._lock:
            if self._in_use.total() >= self._total or self._in_use[user] >= self._per_user:
                raise Unavailable("Too many requests are under way; try again in a moment.")
            self._in_use[user] += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_use[user] -= 1
                self._in_use += Counter()  # Forgets those who have none.
