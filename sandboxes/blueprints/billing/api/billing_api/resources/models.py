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
PaymentMethod = Literal["card", "bank_transfer", "stellar"]

Amount = Annotated[Decimal, Meta(description="Money as a decimal string", examples=["49.00"])]

# Types of request fields. PostgreSQL can't store NUL characters in text.
Text = Annotated[str, Meta(max_length=500, pattern=r"^[^\x00]*$")]
Name = Annotated[
    str,
    Meta(
        min_length=1, max_length=80, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$", examples=["Enterprise"]
    ),
]
PlanId = Annotated[str, Meta(max_length=50, pattern=r"^[a-z0-9_]+$", examples=["plan_team"])]
SubscriberId = Annotated[str, Meta(max_length=50, pattern=r"^[a-z0-9_]+$", examples=["sub_010"])]
SubscriptionId = Annotated[str, Meta(max_length=50, pattern=r"^[a-z0-9_]+$", examples=["sbn_001"])]
InvoiceId = Annotated[str, Meta(max_length=50, pattern=r"^[a-z0-9_]+$", examples=["inv_007"])]
AmountInput = Annotated[
    str,
    Meta(
        pattern=r"^(?=.*[1-9])[0-9]{1,10}(\.[0-9]{1,2})?$",
        description="Positive amount of money as a decimal string",
        examples=["49.00"],
    ),
]
Timestamp = Annotated[datetime, Meta(tz=True)]
Days = Annotated[int, Meta(ge=0, le=365)]


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
    created_at: datetime
    updated_at: datetime


class Subscriber(Struct):
    """A customer who subscribes to plans and pays invoices."""

    id: str
    name: str
    email: str
    company: str
    country: str
    stellar_address: str | None
    created_at: datetime
    updated_at: datetime


class Subscription(Struct):
    """A subscriber's subscription to a plan, billed per period."""

    id: str
    subscriber_id: str
    plan_id: str
    status: SubscriptionStatus
    started_at: datetime
    current_period_start: datetime
    current_period_end: datetime
    trial_end: datetime | None
    cancel_at_period_end: bool
    paused_at: datetime | None
    canceled_at: datetime | None
    created_at: datetime
    updated_at: datetime


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
    period_start: datetime | None
    period_end: datetime | None
    issued_at: datetime | None
    due_at: datetime | None
    paid_at: datetime | None
    voided_at: datetime | None
    uncollectible_at: datetime | None
    created_at: datetime
    updated_at: datetime


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
    processed_at: datetime | None
    refunded_at: datetime | None
    created_at: datetime
    updated_at: datetime


PLANS = Table("plans", "plan", Plan)
SUBSCRIBERS = Table("subscribers", "subscriber", Subscriber)
SUBSCRIPTIONS = Table("subscriptions", "subscription", Subscription)
INVOICES = Table("invoices", "invoice", Invoice)
PAYMENTS = Table("payments", "payment", Payment)
