"""The clock of the sandbox, which the API and the database share as `billing.now()`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from ..database import Cursor

LockMode = Literal["exclusive", "shared"]
LOCKS = {
    "exclusive": "SELECT pg_advisory_xact_lock(1)",
    "shared": "SELECT pg_advisory_xact_lock_shared(1)",
}
DAYS_IN_EVERY_MONTH = 28
MONTHS = {"month": 1, "year": 12}
"""Months of each billing interval."""


def now(cursor: Cursor) -> datetime:
    """Return the time of the sandbox."""
    cursor.execute("SELECT billing.now()")
    moment: datetime
    (moment,) = cursor.fetchone() or ()
    return moment


def lock(cursor: Cursor, mode: LockMode) -> None:
    """Lock the clock until the transaction ends.

    Requests that write share the lock. Working through what is due takes it exclusively, so that
    no request sees a part of it, or waits for a row in another order.
    """
    cursor.execute(LOCKS[mode])


def set_for_transaction(cursor: Cursor, moment: datetime | None) -> None:
    """Set the time for this transaction only; None returns to the clock."""
    text = moment.isoformat() if moment else ""
    cursor.execute("SELECT set_config('billing.now', %s, true)", (text,))


def period_end(anchor: datetime, start: datetime, interval: str) -> datetime:
    """Return the end of the billing period that begins at ``start``.

    It is the first of the whole intervals after ``anchor`` that is later. Counting from the anchor
    keeps the day of the month: 31 January, 28 February, 31 March.
    """
    step = MONTHS[interval]
    months = (start.year - anchor.year) * 12 + start.month - anchor.month
    months -= months % step
    while (end := add_months(anchor, months)) <= start:
        months += step
    return end


def add_months(moment: datetime, months: int) -> datetime:
    """Return the same day and time in another month, or the last day of a shorter month."""
    years, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    for day in range(moment.day, DAYS_IN_EVERY_MONTH, -1):
        try:
            return moment.replace(year=years, month=month + 1, day=day)
        except ValueError:
            continue
    day = min(moment.day, DAYS_IN_EVERY_MONTH)
    return moment.replace(year=years, month=month + 1, day=day)
