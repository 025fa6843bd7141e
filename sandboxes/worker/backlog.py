"""Sandboxes that wait for a thread, so that many of them don't occupy all threads of the worker."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import structlog

from sandboxes.lib.batches import Batch
from sandboxes.models import Sandbox


class Backlog:
    """Work on the sandboxes that messages name, by the threads of a batch.

    Names wait in memory, once each, until a thread is free. If the worker dies, the next sweep
    sends their messages again.
    """

    def __init__(self, name: str, process: Callable[[Sandbox], object]) -> None:
        self._batch = Batch(name)
        self._process = process
        self._waiting: dict[str, None] = {}
        self._lock = Lock()

    def add(self, public_id: str) -> None:
        """Process the sandbox now, or leave it to another thread if enough of them are busy."""
        with self._lock:
            self._waiting[public_id] = None
        self._batch.run(self._process_next)

    def _process_next(self) -> bool:
        with self._lock:
            public_id = next(iter(self._waiting), None)
            if public_id is None:
                return False
            del self._waiting[public_id]
        with structlog.contextvars.bound_contextvars(sandbox=public_id):
            self._process(Sandbox.objects.get(public_id=public_id))
        return True
