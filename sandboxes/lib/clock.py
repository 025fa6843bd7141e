"""The one clock: everything that compares or stores a time asks here, and tests replace it."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return timezone.now()


def now_or_later(at: datetime | None) -> datetime:
    """Now, or `at` if that is later: a clock that was set back shortens nothing."""
    return now() if at is None else max(at, now())
