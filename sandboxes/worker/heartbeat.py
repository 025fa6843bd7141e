"""The worker's heartbeat: a thread reports to the database while messages are being handled.

It doesn't depend on the broker, so that a broker that is down isn't mistaken for a worker that
hangs.
"""

from __future__ import annotations

import threading
import time
from time import monotonic

import structlog
from django.db import DatabaseError, connections

from sandboxes.lib import clock
from sandboxes.models import WorkerStatus

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 10
MAX_LOOP_SECONDS = 30
"""The main loop waits for messages for two seconds at most; after this time, it hangs."""


class Heartbeat(threading.Thread):
    """Reports to the database every INTERVAL_SECONDS until the process ends."""

    def __init__(self) -> None:
        super().__init__(name="worker-heartbeat", daemon=True)
        self._progress_at = monotonic()

    def record_progress(self) -> None:
        """Record that the main loop of the worker has started another round."""
        self._progress_at = monotonic()

    def run(self) -> None:
        while True:
            if monotonic() - self._progress_at < MAX_LOOP_SECONDS:
                report()
            time.sleep(INTERVAL_SECONDS)


def report() -> None:
    """Store the time in the database, unless it is unavailable."""
    try:
        WorkerStatus.store(last_heartbeat_at=clock.now())
    except DatabaseError as error:
        log.warning("heartbeat_failed", error=type(error).__name__)
    finally:
        connections.close_all()
