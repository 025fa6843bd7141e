"""How many requests may be under way at once: a sandbox that hangs must not take all threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Lock

from sandboxes.lib.exceptions import Unavailable


class Turns:
    """So many in this process, and so many of them for one person."""

    def __init__(self, in_all: int, for_one: int) -> None:
        self._in_all = in_all
        self._for_one = for_one
        self._taken = Counter[Hashable]()
        self._lock = Lock()

    @contextmanager
    def taken(self, who: Hashable) -> Iterator[None]:
        """A turn for as long as the block runs. Raises Unavailable: nobody waits for one."""
        with self._lock:
            if self._taken.total() >= self._in_all or self._taken[who] >= self._for_one:
                raise Unavailable("Too many requests are under way; try again in a moment.")
            self._taken[who] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[who] -= 1
                self._taken += Counter()  # Forgets those who have none.
