"""What follows when an automatic payment fails: retries, then the end of the subscription."""

from __future__ import annotations

from ..database import Cursor
from ..resources.models import Invoice

RETRY_DAYS = (3, 5, 7)
"""Days from each failed attempt to the next. After the last one, the subscription is canceled."""

RECORD_FAILURE = """
    UPDATE invoices SET failed_attempts = failed_attempts + 1,
        next_attempt_at = billing.now() + %s * interval '1 day'
    WHERE id = %s
"""


def record_failure(cursor: Cursor, invoice: Invoice) -> None:
    """Schedule the next attempt, or give up: write the invoice off and cancel the subscription."""
    failed = invoice.failed_attempts
    days = RETRY_DAYS[failed] if failed < len(RETRY_DAYS) else None
    cursor.execute(RECORD_FAILURE, (days, invoice.id))
    if days is None:
        cursor.execute(
            "UPDATE invoices SET status = 'uncollectible', uncollectible_at = billing.now()"
            " WHERE id = %s AND status = 'open'",
            (invoice.id,),
        )
        if invoice.subscription_id:
            end_subscription(cursor, invoice.subscription_id)


def end_subscription(cursor: Cursor, subscription_id: str) -> None:
    """Cancel a subscription now. Its drafts become void; open invoices remain due."""
    cursor.execute(
        "UPDATE invoices SET status = 'void', voided_at = billing.now()"
        " WHERE subscription_id = %s AND status = 'draft'",
        (subscription_id,),
    )
    cursor.execute(
        "UPDATE subscriptions SET status = 'canceled', canceled_at = billing.now(),"
        " paused_at = NULL WHERE id = %s AND status <> 'canceled'",
        (subscription_id,),
    )
