"""Whether a subscription is past due, which follows from its open invoices."""

from __future__ import annotations

from ..database import Cursor

LOCK = "SELECT FROM subscriptions WHERE id = %s FOR NO KEY UPDATE"

# An invoice without a failed payment can be overdue, too.
UPDATE = """
    WITH standing AS (
        SELECT CASE WHEN EXISTS (
            SELECT FROM invoices i WHERE i.subscription_id = %(id)s AND i.status = 'open' AND (
                i.due_at <= billing.now() OR 'failed' = (
                    SELECT p.status FROM payments p
                    WHERE p.invoice_id = i.id AND p.status <> 'pending'
                    ORDER BY p.processed_at DESC, p.created_at DESC LIMIT 1))
        ) THEN 'past_due' ELSE 'active' END AS status
    )
    UPDATE subscriptions s SET status = standing.status FROM standing
    WHERE s.id = %(id)s AND s.status IN ('active', 'past_due') AND s.status <> standing.status
"""


def update_past_due(cursor: Cursor, subscription_id: str | None) -> None:
    """Set an active or past due subscription to what its open invoices make of it.

    It is past due while one of them is overdue, or while the last payment of one has failed.
    Trialing, paused and canceled subscriptions keep their status. Call this after every change
    to an invoice or payment; the lock makes sure that the last one sees the others.
    """
    if subscription_id:
        cursor.execute(LOCK, (subscription_id,))
        cursor.execute(UPDATE, {"id": subscription_id})
