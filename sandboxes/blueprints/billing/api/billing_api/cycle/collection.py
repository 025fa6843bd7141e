"""Collect invoices of subscriptions with the subscriber's default payment method."""

from __future__ import annotations

from ..database import Cursor
from ..resources.models import INVOICES, PAYMENT_METHODS
from ..resources.payments import attempt

METHOD = """
    SELECT id FROM payment_methods WHERE subscriber_id = %s AND is_default
        AND NOT EXISTS (SELECT FROM payments WHERE invoice_id = %s AND status = 'pending')
"""
# A failure has scheduled the next attempt already.
ATTEMPTED = """
    UPDATE invoices SET next_attempt_at = NULL WHERE id = %s AND next_attempt_at <= billing.now()
"""


def collect(cursor: Cursor, invoice_id: str) -> None:
    """Attempt to pay an open invoice with the default method, if any, unless a payment pends."""
    invoice = INVOICES.get(cursor, invoice_id, lock=True)
    if invoice.status != "open":
        return
    cursor.execute(METHOD, (invoice.subscriber_id, invoice_id))
    if row := cursor.fetchone():
        attempt(cursor, invoice, PAYMENT_METHODS.get(cursor, row[0]), automatic=True)
    cursor.execute(ATTEMPTED, (invoice_id,))
