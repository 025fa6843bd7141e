"""Exponential backoff between attempts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

MAX_DOUBLINGS = 16


@dataclass(frozen=True)
class Backoff:
    """Delays that start at `first` and double with each attempt, up to `longest`."""

    first: timedelta
    longest: timedelta

    def delay(self, attempts: int) -> timedelta:
        """Return the delay after a number of failed attempts, at least one."""
        doublings = min(max(attempts - 1, 0), MAX_DOUBLINGS)
        return min(self.first * (1 << doublings), self.longest)
