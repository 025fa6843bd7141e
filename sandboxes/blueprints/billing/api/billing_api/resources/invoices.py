"""Invoices: create, change, finalize, pay, void and write off."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from ..cycle import clock
from ..cycle.collection import collect
from ..cycle.past_due import update_past_due
from ..cycle.proration import period_content, total
from ..database import Cursor
from ..web import Call, Operation, conflict, invalid
from .crud import read_operations
from .models import (
    INVOICES,
    PLANS,
    SUBSCRIBERS,
    SUBSCRIPTIONS,
    AmountInput,
    Currency,
    Days,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    MetadataChanges,
    MetadataFilter,
    MetadataInput,
    PaymentMethod,
    PaymentMethodId,
    Plan,
    SubscriberId,
    Subscription,
    SubscriptionId,
    Text,
    Timestamp,
)
from .payments import FOLLOWS_FROM_METHOD, attempt, record_payment, usable_method
from .table import MomentFilter, PageQuery, provided_fields

DEFAULT_DUE_DAYS = 14
OPEN = """
    UPDATE invoices SET status = CASE WHEN amount = 0 THEN 'paid' ELSE 'open' END,
        issued_at = billing.now(), paid_at = CASE WHEN amount = 0 THEN billing.now() END,
        due_at = CASE WHEN due_at > billing.now() THEN due_at
                 ELSE billing.now() + %s * interval '1 day' END
    WHERE id = %s
"""
DRAFT = """
    SELECT id FROM invoices
    WHERE subscription_id = %s AND status = 'draft' AND period_start = %s ORDER BY id LIMIT 1
"""


class NewInvoice(Struct, forbid_unknown_fields=True):
    """A new invoice. Without a subscription, `amount` and `currency` are required.

    With a subscription, they default to the amount and currency of its plan.
    """

    subscriber_id: SubscriberId
    subscription_id: SubscriptionId | None = None
    amount: AmountInput | None = None
    currency: Currency | None = None
    description: Text = ""
    due_in_days: Days = DEFAULT_DUE_DAYS
    draft: bool = False
    metadata: MetadataInput = {}


class InvoiceChanges(Struct, forbid_unknown_fields=True):
    """Changes to an invoice. The amount and currency can only change in a draft."""

    description: Text | UnsetType = UNSET
    due_at: Timestamp | UnsetType = UNSET
    amount: AmountInput | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    metadata: MetadataChanges | UnsetType = UNSET


class PayInvoice(Struct, forbid_unknown_fields=True):
    """How to pay the invoice: with a payment method, whose payment may fail, or without one."""

    method: PaymentMethod = "card"
    payment_method_id: PaymentMethodId | None = None


class InvoiceQuery(PageQuery, kw_only=True):
    """Filters of the list of invoices."""

    subscriber_id: SubscriberId | UnsetType = UNSET
    subscription_id: SubscriptionId | UnsetType = UNSET
    status: InvoiceStatus | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    created_after: MomentFilter | UnsetType = UNSET
    created_before: MomentFilter | UnsetType = UNSET
    due_after: MomentFilter | UnsetType = UNSET
    due_before: MomentFilter | UnsetType = UNSET
    metadata: MetadataFilter | UnsetType = UNSET


def issue(cursor: Cursor, subscription: Subscription, plan: Plan) -> Invoice:
    """Issue the invoice for the current period of a subscription, and collect it.

    A draft for the period is used if there is one. Pending lines of the subscription are added.
    """
    cursor.execute(DRAFT, (subscription.id, subscription.current_period_start))
    if row := cursor.fetchone():
        invoice_id = row[0]
    else:
        content = period_content(subscription, plan)
        fields = _subscription_fields(subscription, plan)
        fields |= {"lines": content.lines, "amount": content.amount}
        invoice_id = _insert(cursor, subscription.subscriber_id, fields).id
        if subscription.pending_lines:
            SUBSCRIPTIONS.update(cursor, subscription.id, pending_lines=content.left)
    invoice = _open(cursor, invoice_id, DEFAULT_DUE_DAYS)
    collect(cursor, invoice.id)
    return INVOICES.get(cursor, invoice.id)


def issue_lines(
    cursor: Cursor, subscription: Subscription, plan: Plan, lines: list[InvoiceLine]
) -> Invoice:
    """Issue an invoice with these lines for the rest of the current period, and collect it."""
    fields = _subscription_fields(subscription, plan) | {
        "period_start": clock.now(cursor),
        "lines": lines,
        "amount": total(lines),
    }
    invoice = _insert(cursor, subscription.subscriber_id, fields)
    _open(cursor, invoice.id, DEFAULT_DUE_DAYS)
    collect(cursor, invoice.id)
    return INVOICES.get(cursor, invoice.id)


def create(call: Call) -> Invoice:
    """Create an open invoice, or a draft."""
    body: NewInvoice = call.body
    subscriber = SUBSCRIBERS.get_referenced(call.cursor, "subscriber_id", body.subscriber_id)
    values = _fields_from_subscription(call.cursor, body) if body.subscription_id else {}
    given = {
        name: value
        for name in ("amount", "currency", "description", "metadata")
        if (value := getattr(body, name))
    }
    _check_currency(given, values.get("currency"))
    values.update(given)
    for name in ("amount", "currency"):
        if name not in values:
            raise invalid(name, "required for an invoice without a subscription")
    invoice = _insert(call.cursor, subscriber.id, values)
    return invoice if body.draft else _open(call.cursor, invoice.id, body.due_in_days)


def update(call: Call) -> Invoice:
    """Change a draft or an open invoice. An open invoice keeps its amount and currency.

    Metadata can always change.
    """
    changes = provided_fields(call.body)
    if changes.keys() == {"metadata"}:
        INVOICES.get(call.cursor, call.id, lock=True)
        return INVOICES.update(call.cursor, call.id, **changes)
    invoice = _require_status(call, "draft", "open")
    if invoice.status == "open" and changes.keys() & {"amount", "currency"}:
        raise conflict(f"Invoice {call.id!r} is open; its amount and currency can't change.")
    _check_currency(changes, invoice.currency)
    INVOICES.update(call.cursor, call.id, **changes)
    update_past_due(call.cursor, invoice.subscription_id)
    return INVOICES.get(call.cursor, call.id)


def finalize(call: Call) -> Invoice:
    """Issue a draft. The invoice becomes open and gets a due date."""
    _require_status(call, "draft")
    return _open(call.cursor, call.id, DEFAULT_DUE_DAYS)


def pay(call: Call) -> Invoice:
    """Pay the full amount. Without a payment method, the payment succeeds immediately.

    With one, the invoice is still open in the response if the payment failed or is pending.
    """
    invoice = _require_status(call, "open", "uncollectible")
    body: PayInvoice = call.body
    if not body.payment_method_id:
        record_payment(call.cursor, invoice, body.method, "succeeded")
    elif body.method != "card":
        raise invalid("method", FOLLOWS_FROM_METHOD)
    else:
        attempt(call.cursor, invoice, usable_method(call.cursor, invoice, body.payment_method_id))
    return INVOICES.get(call.cursor, call.id)


def void(call: Call) -> Invoice:
    """Void the invoice, so that nothing is owed."""
    invoice = _require_status(call, "draft", "open", "uncollectible")
    call.cursor.execute(
        "UPDATE invoices SET status = 'void', voided_at = billing.now(), uncollectible_at = NULL"
        " WHERE id = %s",
        (call.id,),
    )
    update_past_due(call.cursor, invoice.subscription_id)
    return INVOICES.get(call.cursor, call.id)


def write_off(call: Call) -> Invoice:
    """Mark the invoice as uncollectible. It can still be paid later."""
    invoice = _require_status(call, "open")
    call.cursor.execute(
        "UPDATE invoices SET status = 'uncollectible', uncollectible_at = billing.now()"
        " WHERE id = %s",
        (call.id,),
    )
    update_past_due(call.cursor, invoice.subscription_id)
    return INVOICES.get(call.cursor, call.id)


def _insert(cursor: Cursor, subscriber_id: str, values: dict[str, Any]) -> Invoice:
    return INVOICES.insert(cursor, subscriber_id=subscriber_id, status="draft", **values)


def _subscription_fields(subscription: Subscription, plan: Plan) -> dict[str, Any]:
    return {
        "subscription_id": subscription.id,
        "amount": plan.amount,
        "currency": plan.currency,
        "description": plan.name,
        "period_start": subscription.current_period_start,
        "period_end": subscription.current_period_end,
    }


def _fields_from_subscription(cursor: Cursor, body: NewInvoice) -> dict[str, Any]:
    subscription = SUBSCRIPTIONS.get_referenced(
        cursor, "subscription_id", body.subscription_id or ""
    )
    if subscription.subscriber_id != body.subscriber_id:
        raise invalid("subscription_id", f"must belong to subscriber {body.subscriber_id!r}")
    return _subscription_fields(subscription, PLANS.get(cursor, subscription.plan_id))


def _check_currency(values: dict[str, Any], current: str | None) -> None:
    """Raise a 422 problem if the currency of an amount would change without the amount."""
    currency = values.get("currency", current)
    if current and currency != current and "amount" not in values:
        raise invalid("currency", f"must be {current}, unless you also send `amount`")


def _open(cursor: Cursor, row_id: str, due_in_days: int) -> Invoice:
    """Issue a draft. A due date in the future is kept. Without an amount, it is paid."""
    cursor.execute(OPEN, (due_in_days, row_id))
    return INVOICES.get(cursor, row_id)


def _require_status(call: Call, *allowed: InvoiceStatus) -> Invoice:
    invoice = INVOICES.get(call.cursor, call.id, lock=True)
    if invoice.status not in allowed:
        raise conflict(
            f"Invoice {call.id!r} is {invoice.status};"
            f" this is only possible while it is {' or '.join(allowed)}."
        )
    return invoice


PATH = "/v1/invoices"
ONE = f"{PATH}/{{id}}"
OPERATIONS = [
    *read_operations(INVOICES, InvoiceQuery),
    Operation(
        "createInvoice", "POST", PATH, "Create an invoice", create, Invoice, NewInvoice, status=201
    ),
    Operation("updateInvoice", "PATCH", ONE, "Change an invoice", update, Invoice, InvoiceChanges),
    Operation("finalizeInvoice", "POST", f"{ONE}/finalize", "Issue a draft", finalize, Invoice),
    Operation(
        "payInvoice",
        "POST",
        f"{ONE}/pay",
        "Pay an invoice",
        pay,
        Invoice,
        PayInvoice,
        body_required=False,
    ),
    Operation("voidInvoice", "POST", f"{ONE}/void", "Void an invoice", void, Invoice),
    Operation(
        "writeOffInvoice", "POST", f"{ONE}/write-off", "Write an invoice off", write_off, Invoice
    ),
]
