"""Durations that other processes on a busy machine don't prolong."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

THREADS = Path("/proc/self/task")
NANOSECONDS = 1_000_000_000


class Stopwatch:
    """The time since its creation, without that in which threads of this process were kept waiting.

    Linux counts how long a thread that could run has waited for a processor. Elsewhere, all time
    counts.
    """

    def __init__(self) -> None:
        self._began, self._awaited = time.monotonic(), _awaited()

    @property
    def seconds(self) -> float:
        elapsed = time.monotonic() - self._began
        waits = (now - self._awaited.get(thread, 0) for thread, now in _awaited().items())
        return elapsed - sum(waits)


def _awaited() -> dict[str, float]:
    """Return how long each thread has waited for a processor, in seconds."""
    found = {}
    with suppress(FileNotFoundError):
        for thread in THREADS.iterdir():
            with suppress(OSError):  # The thread has ended.
                waited = (thread / "schedstat").read_text().split()[1]
                found[thread.name] = int(waited) / NANOSECONDS
    return found
