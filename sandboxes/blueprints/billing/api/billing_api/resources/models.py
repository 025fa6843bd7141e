"""The resources of the API, and their tables."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from .table import Table

Currency = Literal["AUD", "CAD", "CHF", "EUR", "GBP", "USD"]
BillingInterval = Literal["month", "year"]
SubscriptionStatus = Literal["trialing", "active", "past_due", "paused", "canceled"]
InvoiceStatus = Literal["draft", "open", "paid", "void", "uncollectible"]
PaymentStatus = Literal["pending", "succeeded", "failed", "refunded"]
PaymentOutcome = Literal["succeeded", "failed", "pending"]
SettlementOutcome = Literal["succeeded", "failed"]
PaymentMethod = Literal["card", "bank_transfer", "stellar"]
TestValue = Literal[
    "succeeds",
    "card_declined",
    "insufficient_funds",
    "card_expired",
    "incorrect_cvc",
    "processing_error",
    "fraudulent",
    "lost_card",
    "requires_authentication",
    "succeeds_after_1_retry",
    "succeeds_after_2_retries",
    "succeeds_after_3_retries",
    "settles_later",
    "fails_later",
]
NextAction = Literal["authenticate"]
LineType = Literal["subscription", "item", "proration", "credit"]

Amount = Annotated[Decimal, Meta(description="Money as a decimal string", examples=["49.00"])]

# Types of request fields. Patterns end with \Z, as `$` also matches before a line break; the
# OpenAPI document has `$`, which other dialects read as the end. PostgreSQL can't store NUL.
ID_PATTERN = r"^[a-z0-9_]+\Z"
CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
LINE_PATTERN = rf"^[^{CONTROL}]*\Z"
NAME_PATTERN = rf"^[^{CONTROL}]*[^\s{CONTROL}][^{CONTROL}]*\Z"
TEXT_PATTERN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z"

Text = Annotated[str, Meta(max_length=500, pattern=TEXT_PATTERN)]
Line = Annotated[str, Meta(max_length=500, pattern=LINE_PATTERN)]
Name = Annotated[
    str, Meta(min_length=1, max_length=80, pattern=NAME_PATTERN, examples=["Enterprise"])
]
PlanId = Annotated[str, Meta(max_length=50, pattern=ID_PATTERN, examples=["plan_team"])]
SubscriberId = Annotated[str, Meta(max_length=50, pattern=ID_PATTERN, examples=["sub_010"])]
SubscriptionId = Annotated[str, Meta(max_length=50, pattern=ID_PATTERN, examples=["sbn_001"])]
InvoiceId = Annotated[str, Meta(max_length=50, pattern=ID_PATTERN, examples=["inv_020"])]
AmountInput = Annotated[
    str,
    Meta(
        pattern=r"^(?=.*[1-9])[0-9]{1,10}(\.[0-9]{1,2})?\Z",
        description="Positive amount of money as a decimal string",
        examples=["49.00"],
    ),
]
ObjectId = Annotated[str, Meta(max_length=50, pattern=ID_PATTERN, examples=["inv_001"])]
PaymentId = Annotated[str, Meta(max_length=50, pattern=ID_PATTERN, examples=["pay_001"])]
PaymentMethodId = Annotated[str, Meta(max_length=50, pattern=ID_PATTERN, examples=["pm_001"])]
Timestamp = Annotated[datetime, Meta(tz=True)]
MetadataName = Annotated[str, Meta(min_length=1, max_length=40, pattern=NAME_PATTERN)]
MetadataInput = Annotated[
    dict[MetadataName, Text],
    Meta(max_length=20, description="Names and values of your own", examples=[{"order": "6735"}]),
]
MetadataChanges = Annotated[
    dict[MetadataName, Text | None],
    Meta(max_length=20, description="Values to set; null removes one", examples=[{"order": None}]),
]
MetadataFilter = Annotated[
    dict[MetadataName, Line],
    Meta(max_length=20, description="Values that the metadata has, as in `metadata[order]=6735`"),
]
Days = Annotated[int, Meta(ge=0, le=365)]


class InvoiceLine(Struct):
    """One line of an invoice; the lines add up to its amount. A credit is negative."""

    type: LineType
    description: str
    amount: Amount


class Plan(Struct):
    """A subscription plan. Its price never changes; create a new plan instead."""

    id: str
    name: str
    description: str
    amount: Amount
    currency: Currency
    billing_interval: BillingInterval
    trial_days: int
    active: bool
    metadata: dict[str, str]
    created_at: Timestamp
    updated_at: Timestamp


class Subscriber(Struct):
    """A customer who subscribes to plans and pays invoices."""

    id: str
    name: str
    email: str
    company: str
    country: str
    stellar_address: str | None
    metadata: dict[str, str]
    created_at: Timestamp
    updated_at: Timestamp


class Subscription(Struct):
    """A subscriber's subscription to a plan, billed per period."""

    id: str
    subscriber_id: str
    plan_id: str
    status: SubscriptionStatus
    started_at: Timestamp
    current_period_start: Timestamp
    current_period_end: Timestamp
    trial_end: Timestamp | None
    cancel_at_period_end: bool
    paused_at: Timestamp | None
    canceled_at: Timestamp | None
    billing_anchor: Timestamp | None
    pending_lines: list[InvoiceLine]
    metadata: dict[str, str]
    created_at: Timestamp
    updated_at: Timestamp


class Invoice(Struct):
    """An amount that a subscriber owes, for a subscription period or as a one-off."""

    id: str
    number: str
    subscriber_id: str
    subscription_id: str | None
    status: InvoiceStatus
    amount: Amount
    currency: Currency
    description: str
    period_start: Timestamp | None
    period_end: Timestamp | None
    issued_at: Timestamp | None
    due_at: Timestamp | None
    paid_at: Timestamp | None
    voided_at: Timestamp | None
    uncollectible_at: Timestamp | None
    overdue_at: Timestamp | None
    lines: list[InvoiceLine]
    failed_attempts: int
    next_attempt_at: Timestamp | None
    metadata: dict[str, str]
    created_at: Timestamp
    updated_at: Timestamp


class Payment(Struct):
    """An attempt to pay the full amount of an invoice."""

    id: str
    invoice_id: str
    subscriber_id: str
    amount: Amount
    currency: Currency
    method: PaymentMethod
    status: PaymentStatus
    failure_reason: str | None
    processed_at: Timestamp | None
    refunded_at: Timestamp | None
    payment_method_id: str | None
    automatic: bool
    next_action: NextAction | None
    settles_at: Timestamp | None
    refunded_amount: Amount
    metadata: dict[str, str]
    created_at: Timestamp
    updated_at: Timestamp


class SubscriberPaymentMethod(Struct):
    """A payment method of a subscriber. Its test value decides what becomes of payments."""

    id: str
    subscriber_id: str
    type: PaymentMethod
    test_value: TestValue
    is_default: bool
    detached_at: Timestamp | None
    metadata: dict[str, str]
    created_at: Timestamp
    updated_at: Timestamp


class Refund(Struct):
    """A payment that was returned, in full or in part."""

    id: str
    payment_id: str
    amount: Amount
    currency: Currency
    reason: str
    metadata: dict[str, str]
    created_at: Timestamp
    updated_at: Timestamp


PLANS = Table("plans", "plan", Plan)
SUBSCRIBERS = Table("subscribers", "subscriber", Subscriber)
SUBSCRIPTIONS = Table("subscriptions", "subscription", Subscription)
INVOICES = Table("invoices", "invoice", Invoice)
PAYMENTS = Table("payments", "payment", Payment)
PAYMENT_METHODS = Table("payment_methods", "payment method", SubscriberPaymentMethod)
REFUNDS = Table("refunds", "refund", Refund)
