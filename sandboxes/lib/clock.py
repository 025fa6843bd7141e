"""The current time; all code that compares or stores times uses it."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return timezone.now()


def now_or_later(at: datetime | None) -> datetime:
    """Return the current time, or `at` if it is later because the clock was set back."""
    return now() if at is None else max(at, now())
