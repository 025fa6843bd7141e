"""Payments: create, settle and refund."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from billing_api.database import Cursor
from billing_api.web import Call, Operation, conflict, invalid

from .crud import read_operations
from .models import (
    INVOICES,
    PAYMENTS,
    Invoice,
    InvoiceId,
    Payment,
    PaymentMethod,
    PaymentStatus,
    SubscriberId,
    Timestamp,
)
from .table import PageQuery

FailureReason = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,60}$", examples=["card_declined"])]
DEFAULT_FAILURE_REASONS: dict[PaymentMethod, str] = {
    "card": "card_declined",
    "bank_transfer": "insufficient_funds",
    "stellar": "insufficient_balance",
}


class NewPayment(Struct, forbid_unknown_fields=True):
    """An attempt to pay an open invoice, with an outcome of your choice.

    ``failed`` leaves the invoice open and sets an active subscription to past due.
    ``pending`` remains until a PATCH settles the payment.
    """

    invoice_id: InvoiceId
    method: PaymentMethod = "card"
    status: Literal["succeeded", "failed", "pending"] = "succeeded"
    failure_reason: FailureReason | None = None


class PaymentChanges(Struct, forbid_unknown_fields=True):
    """The outcome of a pending payment."""

    status: Literal["succeeded", "failed"]
    failure_reason: FailureReason | None = None


class PaymentQuery(PageQuery, kw_only=True):
    """Filters of the list of payments."""

    invoice_id: InvoiceId | UnsetType = UNSET
    subscriber_id: SubscriberId | UnsetType = UNSET
    status: PaymentStatus | UnsetType = UNSET
    method: PaymentMethod | UnsetType = UNSET
    created_after: Timestamp | UnsetType = UNSET
    created_before: Timestamp | UnsetType = UNSET


def record_payment(
    cursor: Cursor,
    invoice: Invoice,
    method: PaymentMethod,
    status: PaymentStatus,
    reason: str | None = None,
) -> Payment:
    """Create a payment of a locked invoice and apply its outcome."""
    payment = PAYMENTS.insert(
        cursor,
        invoice_id=invoice.id,
        subscriber_id=invoice.subscriber_id,
        amount=invoice.amount,
        currency=invoice.currency,
        method=method,
        status="pending",
    )
    return payment if status == "pending" else _settle(cursor, payment, invoice, status, reason)


def create(call: Call) -> Payment:
    """Attempt to pay an invoice. You choose the outcome."""
    body: NewPayment = call.body
    _check_failure_reason(body)
    INVOICES.get_referenced(call.cursor, "invoice_id", body.invoice_id)
    invoice = _get_payable_invoice(call.cursor, body.invoice_id)
    return record_payment(call.cursor, invoice, body.method, body.status, body.failure_reason)


def update(call: Call) -> Payment:
    """Settle a pending payment."""
    body: PaymentChanges = call.body
    _check_failure_reason(body)
    payment, invoice = _lock_with_invoice(call)
    if payment.status != "pending":
        raise conflict(
            f"Payment {call.id!r} is {payment.status}; only a pending payment can change."
        )
    if body.status == "succeeded":
        _get_payable_invoice(call.cursor, invoice.id)
    return _settle(call.cursor, payment, invoice, body.status, body.failure_reason)


def refund(call: Call) -> Payment:
    """Refund the full amount. The invoice becomes void."""
    payment, invoice = _lock_with_invoice(call)
    if payment.status != "succeeded":
        raise conflict(
            f"Payment {call.id!r} is {payment.status}; only a succeeded payment can be refunded."
        )
    call.cursor.execute(
        "UPDATE payments SET status = 'refunded', refunded_at = now() WHERE id = %s", (payment.id,)
    )
    call.cursor.execute(
        "UPDATE invoices SET status = 'void', paid_at = NULL, voided_at = now() WHERE id = %s",
        (invoice.id,),
    )
    return PAYMENTS.get(call.cursor, call.id)


def _settle(
    cursor: Cursor, payment: Payment, invoice: Invoice, status: PaymentStatus, reason: str | None
) -> Payment:
    failed = status == "failed"
    cursor.execute(
        "UPDATE payments SET status = %s, failure_reason = %s, processed_at = now() WHERE id = %s",
        (
            status,
            (reason or DEFAULT_FAILURE_REASONS[payment.method]) if failed else None,
            payment.id,
        ),
    )
    if failed:
        if invoice.status == "open":
            _mark_past_due(cursor, invoice)
    else:
        _mark_paid(cursor, invoice)
    return PAYMENTS.get(cursor, payment.id)


def _mark_paid(cursor: Cursor, invoice: Invoice) -> None:
    """Mark an invoice as paid; its subscription becomes active if no invoice is overdue."""
    cursor.execute(
        "UPDATE invoices SET status = 'paid', paid_at = now(), uncollectible_at = NULL"
        " WHERE id = %s",
        (invoice.id,),
    )
    cursor.execute(
        "UPDATE subscriptions s SET status = 'active' WHERE id = %s AND status = 'past_due'"
        " AND NOT EXISTS (SELECT FROM invoices i WHERE i.subscription_id = s.id"
        "                 AND i.status = 'open' AND i.due_at < now())",
        (invoice.subscription_id,),
    )


def _mark_past_due(cursor: Cursor, invoice: Invoice) -> None:
    cursor.execute(
        "UPDATE subscriptions SET status = 'past_due' WHERE id = %s AND status = 'active'",
        (invoice.subscription_id,),
    )


def _get_payable_invoice(cursor: Cursor, row_id: str) -> Invoice:
    invoice = INVOICES.get(cursor, row_id, lock=True)
    if invoice.status not in ("open", "uncollectible"):
        raise conflict(
            f"Invoice {row_id!r} is {invoice.status};"
            " only an open or uncollectible invoice can be paid."
        )
    return invoice


def _lock_with_invoice(call: Call) -> tuple[Payment, Invoice]:
    """Lock a payment and its invoice: the invoice first, as everywhere, to avoid deadlocks."""
    invoice_id = PAYMENTS.get(call.cursor, call.id).invoice_id
    invoice = INVOICES.get(call.cursor, invoice_id, lock=True)
    return PAYMENTS.get(call.cursor, call.id, lock=True), invoice


def _check_failure_reason(body: NewPayment | PaymentChanges) -> None:
    if body.failure_reason and body.status != "failed":
        raise invalid("failure_reason", "only allowed for a failed payment")


PATH = "/v1/payments"
OPERATIONS = [
    *read_operations(PAYMENTS, PaymentQuery),
    Operation(
        "POST",
        PATH,
        "Create a payment",
        create,
        Payment,
        NewPayment,
        status=201,
        operation_id="pay_an_invoice_or_fail_to",
    ),
    Operation(
        "PATCH", f"{PATH}/{{id}}", "Settle a pending payment", update, Payment, PaymentChanges
    ),
    Operation("POST", f"{PATH}/{{id}}/refund", "Refund a payment", refund, Payment),
]
