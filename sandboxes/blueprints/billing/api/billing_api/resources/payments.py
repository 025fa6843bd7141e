"""Payments: create, settle and refund."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from ..database import Cursor
from ..web import Call, Operation, conflict, invalid
from .crud import read_operations
from .models import (
    INVOICES,
    PAYMENTS,
    Invoice,
    InvoiceId,
    Payment,
    PaymentMethod,
    PaymentOutcome,
    PaymentStatus,
    SettlementOutcome,
    SubscriberId,
)
from .past_due import update_past_due
from .table import MomentFilter, PageQuery

FailureReason = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,60}\Z", examples=["card_declined"])]
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
    status: PaymentOutcome = "succeeded"
    failure_reason: FailureReason | None = None


class PaymentChanges(Struct, forbid_unknown_fields=True):
    """The outcome of a pending payment."""

    status: SettlementOutcome
    failure_reason: FailureReason | None = None


class PaymentQuery(PageQuery, kw_only=True):
    """Filters of the list of payments."""

    invoice_id: InvoiceId | UnsetType = UNSET
    subscriber_id: SubscriberId | UnsetType = UNSET
    status: PaymentStatus | UnsetType = UNSET
    method: PaymentMethod | UnsetType = UNSET
    created_after: MomentFilter | UnsetType = UNSET
    created_before: MomentFilter | UnsetType = UNSET


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
    update_past_due(call.cursor, invoice.subscription_id)
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
    if not failed:
        cursor.execute(
            "UPDATE invoices SET status = 'paid', paid_at = now(), uncollectible_at = NULL"
            " WHERE id = %s",
            (invoice.id,),
        )
    update_past_due(cursor, invoice.subscription_id)
    return PAYMENTS.get(cursor, payment.id)


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
ONE = f"{PATH}/{{id}}"
OPERATIONS = [
    *read_operations(PAYMENTS, PaymentQuery),
    Operation(
        "createPayment", "POST", PATH, "Create a payment", create, Payment, NewPayment, status=201
    ),
    Operation(
        "updatePayment", "PATCH", ONE, "Settle a pending payment", update, Payment, PaymentChanges
    ),
    Operation("refundPayment", "POST", f"{ONE}/refund", "Refund a payment", refund, Payment),
]
