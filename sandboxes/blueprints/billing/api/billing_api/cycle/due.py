"""Work through everything that is due, in order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import psycopg2

from ..database import Cursor
from ..resources.invoices import issue
from ..resources.models import PLANS, SUBSCRIPTIONS
from ..resources.payments import settle_when_due
from . import clock
from .collection import collect
from .dunning import end_subscription
from .past_due import update_past_due

# What a step schedules lies at least a day later, so the steps of a day are known at its start.
NEXT_STEPS = """
    WITH next AS (SELECT at, rank, object_id, action FROM scheduled
                  WHERE at <= %(until)s AND object_id <> ALL (%(skipped)s))
    SELECT at, object_id, action FROM next
    WHERE at < (SELECT min(at) FROM next) + interval '1 day'
    ORDER BY at, rank, object_id
"""
CATCH_UP = "UPDATE test_clock SET caught_up_at = %s RETURNING caught_up_at"
SECONDS_TO_NEXT = """
    SELECT extract(epoch FROM min(at) - billing.now())
    FROM scheduled WHERE (SELECT frozen_at IS NULL FROM test_clock)
"""


def work_through(cursor: Cursor, until: datetime) -> None:
    """Do everything that is due until then, each step at its own time.

    The caller holds the exclusive lock of the clock. A step that fails, because a developer has
    changed the data in SQL, is left out.
    """
    cursor.execute("SELECT caught_up_at FROM test_clock")
    (reached,) = cursor.fetchone() or (until,)
    skipped: list[str] = []
    while True:
        cursor.execute(NEXT_STEPS, {"until": until, "skipped": skipped})
        steps = cursor.fetchall()
        if not steps:
            break
        for at, object_id, action in steps:
            reached = max(reached, at)
            clock.set_for_transaction(cursor, reached)
            cursor.execute("SAVEPOINT step")
            try:
                STEPS[action](cursor, object_id)
            except psycopg2.IntegrityError:
                cursor.execute("ROLLBACK TO SAVEPOINT step")
                skipped.append(object_id)
            cursor.execute("RELEASE SAVEPOINT step")
    clock.set_for_transaction(cursor, None)
    cursor.execute(CATCH_UP, (until,))


def catch_up(cursor: Cursor) -> float | None:
    """Do what is due by now. Return the seconds until something is due, or None."""
    clock.lock(cursor, "exclusive")
    cursor.execute("SELECT FROM scheduled WHERE at <= billing.now() LIMIT 1")
    if cursor.fetchone() is not None:
        work_through(cursor, clock.now(cursor))
    cursor.execute(SECONDS_TO_NEXT)
    (seconds,) = cursor.fetchone() or (None,)
    return None if seconds is None else float(seconds)


def _renew(cursor: Cursor, subscription_id: str) -> None:
    """Begin the next period, the first one after a trial included, and issue its invoice."""
    subscription = SUBSCRIPTIONS.get(cursor, subscription_id, lock=True)
    start = subscription.current_period_end
    if subscription.status in ("paused", "canceled") or start > clock.now(cursor):
        return
    plan = PLANS.get(cursor, subscription.plan_id)
    anchor = subscription.billing_anchor or subscription.trial_end or subscription.started_at
    subscription = SUBSCRIPTIONS.update(
        cursor,
        subscription_id,
        status="active" if subscription.status == "trialing" else subscription.status,
        current_period_start=start,
        current_period_end=clock.period_end(anchor, start, plan.billing_interval),
    )
    issue(cursor, subscription, plan)


def _cancel(cursor: Cursor, subscription_id: str) -> None:
    end_subscription(cursor, subscription_id)


def _remind(cursor: Cursor, subscription_id: str) -> None:
    cursor.execute(
        "UPDATE subscriptions SET trial_reminded_at = billing.now()"
        " WHERE id = %s AND status = 'trialing'",
        (subscription_id,),
    )


def _mark_overdue(cursor: Cursor, invoice_id: str) -> None:
    cursor.execute(
        "UPDATE invoices SET overdue_at = due_at WHERE id = %s AND status = 'open'"
        " AND due_at <= billing.now() RETURNING subscription_id",
        (invoice_id,),
    )
    if row := cursor.fetchone():
        update_past_due(cursor, row[0])


STEPS: dict[str, Callable[[Cursor, str], None]] = {
    "cancel_subscription": _cancel,
    "end_trial": _renew,
    "renew_subscription": _renew,
    "remind_of_trial_end": _remind,
    "settle_payment": settle_when_due,
    "collect_invoice": collect,
    "mark_invoice_overdue": _mark_overdue,
}
"""What the actions of the view `scheduled` do. Each checks again whether it still applies."""
