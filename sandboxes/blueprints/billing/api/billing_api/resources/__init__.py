"""The resources of the API: their tables and operations."""

from __future__ import annotations

from ..web import Operation
from . import invoices, payments, plans, subscribers, subscriptions

__all__ = ["OPERATIONS"]

OPERATIONS: list[Operation] = [
    *plans.OPERATIONS,
    *subscribers.OPERATIONS,
    *subscriptions.OPERATIONS,
    *invoices.OPERATIONS,
    *payments.OPERATIONS,
]
