"""A thread that does what becomes due while real time passes."""

from __future__ import annotations

import threading

import psycopg2

from ..database import Database, DatabaseUnavailable
from .due import catch_up

START_SECONDS = 10.0
"""Seconds before the first look, so that a launch isn't slowed down."""
STOP_SECONDS = 2.0
PAUSE_SECONDS = 0.2
"""Seconds in which changes are collected before a look at the schedule."""
MAX_SLEEP_SECONDS = 300.0
"""A developer may change the schedule in SQL, which the API isn't told."""


class Timekeeper:
    """Sleeps until something is due; a change of the data wakes it to look again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timekeeper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Look at the schedule again, as it may have changed."""
        self._changed.set()

    def stop(self) -> None:
        """End the thread, and wait for it briefly."""
        self._stopped.set()
        self._changed.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        seconds = START_SECONDS
        while not self._stopped.is_set():
            if self._changed.wait(seconds):
                self._stopped.wait(PAUSE_SECONDS)
                self._changed.clear()
            if not self._stopped.is_set():
                seconds = self._look()

    def _look(self) -> float:
        """Do what is due, and return the seconds to sleep. Other sessions may be in the way."""
        try:
            until_next = self._database.transaction(catch_up)
        except (DatabaseUnavailable, psycopg2.Error):
            return MAX_SLEEP_SECONDS
        if until_next is None:
            return MAX_SLEEP_SECONDS
        # At least a second, in case a step is due but can't be done.
        return min(max(until_next, 1.0), MAX_SLEEP_SECONDS)
