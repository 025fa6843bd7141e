"""The current time; all code that compares or stores times uses it."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

TOLERANCE = timedelta(minutes=1)
"""How far the clocks of the portal's machines may be apart."""


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return timezone.now()


def is_ahead(at: datetime | None, now: datetime, longest: timedelta) -> bool:
    """Return whether a time is still to come.

    One further ahead than the `longest` wait that is ever set was stored before the clock was set
    back, and isn't waited for.
    """
    return at is not None and now < at <= now + longest + TOLERANCE


def is_older(at: datetime, now: datetime, age: timedelta) -> bool:
    """Return whether a past time is at least `age` old, or in the future by a clock set back."""
    return not now - age < at <= now + TOLERANCE


def now_or_later(at: datetime | None) -> datetime:
    """Return the current time, or `at` if it is later because the clock was set back."""
    return now() if at is None else max(at, now())
