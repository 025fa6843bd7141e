"""The resources of the API: their tables and operations."""

from __future__ import annotations

from ..web import Operation
from . import (
    events,
    faults,
    invoices,
    payment_methods,
    payments,
    plans,
    refunds,
    requests,
    stellar_payments,
    subscribers,
    subscriptions,
    test_clock,
    webhooks,
)

__all__ = ["OPERATIONS"]

OPERATIONS: list[Operation] = [
    *plans.OPERATIONS,
    *subscribers.OPERATIONS,
    *subscriptions.OPERATIONS,
    *invoices.OPERATIONS,
    *payments.OPERATIONS,
    *payment_methods.OPERATIONS,
    *refunds.OPERATIONS,
    *test_clock.OPERATIONS,
    *events.OPERATIONS,
    *webhooks.OPERATIONS,
    *faults.OPERATIONS,
    *requests.OPERATIONS,
    *stellar_payments.OPERATIONS,
]
faults.KNOWN_PATHS.update(operation.path for operation in OPERATIONS)
