"""The `Retry-After` header of other servers (RFC 9110, section 10.2.3)."""

from __future__ import annotations

from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime

from sandboxes.lib import clock

MAX_DIGITS = 9


def parse_retry_after(value: str, longest: timedelta) -> timedelta:
    """Return the delay that the header asks for, at most `longest`; zero if it is invalid."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        # Python refuses to convert very many digits.
        delay = timedelta(seconds=int(value)) if len(value) <= MAX_DIGITS else longest
    else:
        delay = _until(value)
    return min(max(delay, timedelta()), longest)


def _until(date: str) -> timedelta:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return timedelta()
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware - clock.now()
