"""Payments: create, authenticate, settle and refund."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from ..cycle.dunning import record_failure
from ..cycle.past_due import update_past_due
from ..database import Cursor
from ..web import Call, Operation, conflict, invalid
from .crud import read_operations
from .models import (
    INVOICES,
    PAYMENT_METHODS,
    PAYMENTS,
    REFUNDS,
    AmountInput,
    Invoice,
    InvoiceId,
    MetadataChanges,
    MetadataFilter,
    MetadataInput,
    NextAction,
    Payment,
    PaymentMethod,
    PaymentMethodId,
    PaymentOutcome,
    PaymentStatus,
    SettlementOutcome,
    SubscriberId,
    SubscriberPaymentMethod,
    Text,
)
from .table import MomentFilter, PageQuery

FailureReason = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,60}\Z", examples=["card_declined"])]
DEFAULT_FAILURE_REASONS: dict[PaymentMethod, str] = {
    "card": "card_declined",
    "bank_transfer": "insufficient_funds",
    "stellar": "insufficient_balance",
}
RETRIES = {
    "succeeds_after_1_retry": 1,
    "succeeds_after_2_retries": 2,
    "succeeds_after_3_retries": 3,
}
LATER_FAILURES = {
    "requires_authentication": "authentication_required",
    "fails_later": "insufficient_funds",
}
AUTHENTICATION_DAYS = 1
"""Days after which a payment fails unless it is authenticated."""
SETTLEMENT_DAYS = 3
"""Days that a payment takes to settle later."""

FOLLOWS_FROM_METHOD = "must be omitted, as it follows from `payment_method_id`"
PAYABLE = ("open", "uncollectible")
SETTLE_LATER = """
    UPDATE payments SET settles_at = billing.now() + %s * interval '1 day' WHERE id = %s
"""
ADD_REFUND = """
    UPDATE payments SET refunded_amount = refunded_amount + %(amount)s,
        status = CASE WHEN refunded_amount + %(amount)s = amount THEN 'refunded' ELSE status END,
        refunded_at = CASE WHEN refunded_amount + %(amount)s = amount THEN billing.now() END
    WHERE id = %(id)s
"""


class Outcome(NamedTuple):
    """What becomes of an attempt; a pending one settles after ``days``."""

    status: PaymentStatus
    reason: str | None = None
    days: int = 0
    next_action: NextAction | None = None


class NewPayment(Struct, forbid_unknown_fields=True):
    """An attempt to pay an open invoice, with a payment method or an outcome of your choice.

    With ``payment_method_id``, the outcome follows from the method, and the other fields must be
    left out. Without it, ``failed`` leaves the invoice open and sets an active subscription to
    past due, and ``pending`` remains until a PATCH settles the payment.
    """

    invoice_id: InvoiceId
    method: PaymentMethod = "card"
    status: PaymentOutcome = "succeeded"
    failure_reason: FailureReason | None = None
    payment_method_id: PaymentMethodId | None = None
    metadata: MetadataInput = {}


class PaymentChanges(Struct, forbid_unknown_fields=True):
    """The outcome of a pending payment, or its metadata."""

    status: SettlementOutcome | UnsetType = UNSET
    failure_reason: FailureReason | None = None
    metadata: MetadataChanges | UnsetType = UNSET


class Authentication(Struct, forbid_unknown_fields=True):
    """Whether the subscriber confirms the payment."""

    outcome: SettlementOutcome = "succeeded"


class NewRefund(Struct, forbid_unknown_fields=True):
    """What to return; `amount` defaults to everything that was not refunded yet."""

    amount: AmountInput | None = None
    reason: Text = ""
    metadata: MetadataInput = {}


class PaymentQuery(PageQuery, kw_only=True):
    """Filters of the list of payments."""

    invoice_id: InvoiceId | UnsetType = UNSET
    subscriber_id: SubscriberId | UnsetType = UNSET
    status: PaymentStatus | UnsetType = UNSET
    method: PaymentMethod | UnsetType = UNSET
    payment_method_id: PaymentMethodId | UnsetType = UNSET
    created_after: MomentFilter | UnsetType = UNSET
    created_before: MomentFilter | UnsetType = UNSET
    metadata: MetadataFilter | UnsetType = UNSET


def record_payment(
    cursor: Cursor,
    invoice: Invoice,
    method: PaymentMethod,
    status: PaymentStatus,
    reason: str | None = None,
    metadata: dict[str, str] | None = None,
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
        metadata=metadata or {},
    )
    return payment if status == "pending" else _settle(cursor, payment, invoice, status, reason)


def attempt(
    cursor: Cursor,
    invoice: Invoice,
    method: SubscriberPaymentMethod,
    metadata: dict[str, str] | None = None,
    *,
    automatic: bool = False,
) -> Payment:
    """Pay a locked invoice with a payment method; the outcome follows from its test value."""
    outcome = _outcome(cursor, invoice, method)
    payment = PAYMENTS.insert(
        cursor,
        invoice_id=invoice.id,
        subscriber_id=invoice.subscriber_id,
        amount=invoice.amount,
        currency=invoice.currency,
        method=method.type,
        payment_method_id=method.id,
        automatic=automatic,
        status="pending",
        next_action=outcome.next_action,
        metadata=metadata or {},
    )
    if outcome.status != "pending":
        return _settle(cursor, payment, invoice, outcome.status, outcome.reason)
    cursor.execute(SETTLE_LATER, (outcome.days, payment.id))
    return PAYMENTS.get(cursor, payment.id)


def settle(cursor: Cursor, payment_id: str, status: PaymentStatus) -> Payment:
    """Settle a pending payment whose invoice can be paid."""
    payment, invoice = _lock_with_invoice(cursor, payment_id)
    return _settle(cursor, payment, invoice, status, None)


def settle_when_due(cursor: Cursor, payment_id: str) -> None:
    """Settle a pending payment that settles without a request, if its time has come."""
    payment, invoice = _lock_with_invoice(cursor, payment_id)
    if payment.status != "pending" or payment.settles_at is None:
        return
    reason = LATER_FAILURES.get(_test_value(cursor, payment))
    if invoice.status not in PAYABLE:
        reason = "invoice_closed"
    _settle(cursor, payment, invoice, "failed" if reason else "succeeded", reason)


def create(call: Call) -> Payment:
    """Attempt to pay an invoice, with a payment method or an outcome of your choice."""
    body: NewPayment = call.body
    _check_failure_reason(body)
    INVOICES.get_referenced(call.cursor, "invoice_id", body.invoice_id)
    if body.payment_method_id:
        for name, default in (("method", "card"), ("status", "succeeded")):
            if getattr(body, name) != default:
                raise invalid(name, FOLLOWS_FROM_METHOD)
        invoice = _get_payable_invoice(call.cursor, body.invoice_id)
        method = usable_method(call.cursor, invoice, body.payment_method_id)
        return attempt(call.cursor, invoice, method, body.metadata)
    invoice = _get_payable_invoice(call.cursor, body.invoice_id)
    return record_payment(
        call.cursor,
        invoice,
        body.method,
        body.status,
        body.failure_reason,
        body.metadata,
    )


def update(call: Call) -> Payment:
    """Settle a pending payment, or change the metadata of any."""
    body: PaymentChanges = call.body
    _check_failure_reason(body)
    payment, invoice = _lock_with_invoice(call.cursor, call.id)
    if body.metadata is not UNSET:
        payment = PAYMENTS.update(call.cursor, call.id, metadata=body.metadata)
    if body.status is UNSET:
        return payment
    return _settle_as_told(call, payment, invoice, body.status, body.failure_reason)


def authenticate(call: Call) -> Payment:
    """Confirm a payment that requires authentication, or let it fail."""
    payment, invoice = _lock_with_invoice(call.cursor, call.id)
    if payment.next_action != "authenticate":
        raise conflict(f"Payment {call.id!r} doesn't wait for an authentication.")
    failed = call.body.outcome == "failed"
    reason = LATER_FAILURES["requires_authentication"] if failed else None
    return _settle_as_told(call, payment, invoice, call.body.outcome, reason)


def refund(call: Call) -> Payment:
    """Return a payment, in full or in part. In full, the invoice becomes void."""
    payment, invoice = _lock_with_invoice(call.cursor, call.id)
    if payment.status != "succeeded":
        raise conflict(
            f"Payment {call.id!r} is {payment.status}; only a succeeded payment can be refunded."
        )
    body: NewRefund = call.body
    left = payment.amount - payment.refunded_amount
    amount = Decimal(body.amount) if body.amount else left
    if amount > left:
        raise invalid("amount", f"must be at most {left}, which was not refunded yet")
    REFUNDS.insert(
        call.cursor,
        payment_id=payment.id,
        amount=amount,
        currency=payment.currency,
        reason=body.reason,
        metadata=body.metadata,
    )
    call.cursor.execute(ADD_REFUND, {"id": payment.id, "amount": amount})
    if amount == left:
        call.cursor.execute(
            "UPDATE invoices SET status = 'void', paid_at = NULL, voided_at = billing.now()"
            " WHERE id = %s",
            (invoice.id,),
        )
        update_past_due(call.cursor, invoice.subscription_id)
    return PAYMENTS.get(call.cursor, call.id)


def usable_method(cursor: Cursor, invoice: Invoice, method_id: str) -> SubscriberPaymentMethod:
    """Return a payment method that a request names. Raises a 422 problem."""
    method = PAYMENT_METHODS.get_referenced(cursor, "payment_method_id", method_id)
    if method.subscriber_id != invoice.subscriber_id:
        raise invalid("payment_method_id", f"must belong to subscriber {invoice.subscriber_id!r}")
    if method.detached_at:
        raise invalid("payment_method_id", "was detached; use another payment method")
    return method


def _outcome(cursor: Cursor, invoice: Invoice, method: SubscriberPaymentMethod) -> Outcome:
    value = method.test_value
    if value == "requires_authentication":
        return Outcome("pending", days=AUTHENTICATION_DAYS, next_action="authenticate")
    if value in ("settles_later", "fails_later"):
        return Outcome("pending", days=SETTLEMENT_DAYS)
    if value == "succeeds" or (
        value in RETRIES and _failures(cursor, invoice, method) >= RETRIES[value]
    ):
        return Outcome("succeeded")
    return Outcome("failed", "card_declined" if value in RETRIES else value)


def _failures(cursor: Cursor, invoice: Invoice, method: SubscriberPaymentMethod) -> int:
    """Return how often the method has failed to pay the invoice."""
    cursor.execute(
        "SELECT count(*) FROM payments"
        " WHERE invoice_id = %s AND payment_method_id = %s AND status = 'failed'",
        (invoice.id, method.id),
    )
    (count,) = cursor.fetchone() or (0,)
    return int(count)


def _test_value(cursor: Cursor, payment: Payment) -> str:
    method_id = payment.payment_method_id
    return PAYMENT_METHODS.get(cursor, method_id).test_value if method_id else ""


def _settle_as_told(
    call: Call, payment: Payment, invoice: Invoice, status: PaymentStatus, reason: str | None
) -> Payment:
    if payment.status != "pending":
        raise conflict(
            f"Payment {call.id!r} is {payment.status}; only a pending payment can change."
        )
    if status == "succeeded":
        _get_payable_invoice(call.cursor, invoice.id)
    return _settle(call.cursor, payment, invoice, status, reason)


def _settle(
    cursor: Cursor, payment: Payment, invoice: Invoice, status: PaymentStatus, reason: str | None
) -> Payment:
    failed = status == "failed"
    cursor.execute(
        "UPDATE payments SET status = %s, failure_reason = %s, processed_at = billing.now(),"
        " next_action = NULL, settles_at = NULL WHERE id = %s",
        (
            status,
            (reason or DEFAULT_FAILURE_REASONS[payment.method]) if failed else None,
            payment.id,
        ),
    )
    if not failed:
        cursor.execute(
            "UPDATE invoices SET status = 'paid', paid_at = billing.now(), uncollectible_at = NULL"
            " WHERE id = %s",
            (invoice.id,),
        )
    elif payment.automatic and invoice.status == "open":
        record_failure(cursor, invoice)
    update_past_due(cursor, invoice.subscription_id)
    return PAYMENTS.get(cursor, payment.id)


def _get_payable_invoice(cursor: Cursor, row_id: str) -> Invoice:
    invoice = INVOICES.get(cursor, row_id, lock=True)
    if invoice.status not in PAYABLE:
        raise conflict(
            f"Invoice {row_id!r} is {invoice.status};"
            " only an open or uncollectible invoice can be paid."
        )
    return invoice


def _lock_with_invoice(cursor: Cursor, payment_id: str) -> tuple[Payment, Invoice]:
    """Lock a payment and its invoice: the invoice first, as everywhere, to avoid deadlocks."""
    invoice_id = PAYMENTS.get(cursor, payment_id).invoice_id
    invoice = INVOICES.get(cursor, invoice_id, lock=True)
    return PAYMENTS.get(cursor, payment_id, lock=True), invoice


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
    Operation(
        "authenticatePayment",
        "POST",
        f"{ONE}/authenticate",
        "Authenticate a payment",
        authenticate,
        Payment,
        Authentication,
        body_required=False,
    ),
    Operation(
        "refundPayment",
        "POST",
        f"{ONE}/refund",
        "Refund a payment",
        refund,
        Payment,
        NewRefund,
        body_required=False,
    ),
]
