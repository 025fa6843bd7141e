"""Lines of invoices: the price of a period, proration of a change of plan, and credits."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

import msgspec

from ..resources.models import InvoiceLine, Plan, Subscription

CENT = Decimal("0.01")
MICROSECOND = timedelta(microseconds=1)


class InvoiceContent(NamedTuple):
    """The lines of an invoice, their sum, and the credit that is left for the next one."""

    lines: list[InvoiceLine]
    amount: Decimal
    left: list[InvoiceLine]


def total(lines: list[InvoiceLine]) -> Decimal:
    """Return the sum of the lines."""
    return sum((line.amount for line in lines), Decimal("0.00"))


def period_content(subscription: Subscription, plan: Plan) -> InvoiceContent:
    """Return the invoice of a period: the plan's price and the pending lines.

    A credit larger than the price brings the invoice to zero; the rest is kept for the next one.
    """
    pending = msgspec.convert(msgspec.to_builtins(subscription.pending_lines), list[InvoiceLine])
    lines = [InvoiceLine("subscription", plan.name, plan.amount), *pending]
    amount = total(lines)
    if amount >= 0:
        return InvoiceContent(lines, amount, [])
    lines.append(InvoiceLine("credit", "Credit kept for the next invoice", -amount))
    left = [InvoiceLine("credit", "Credit from the previous invoice", amount)]
    return InvoiceContent(lines, total(lines), left)


def change_lines(
    subscription: Subscription, old: Plan, new: Plan, now: datetime
) -> list[InvoiceLine]:
    """Return a credit for the rest of the period with the old plan, and the price of the new one.

    A trial costs nothing, so there is nothing to prorate. Amounts are rounded half up.
    """
    if subscription.trial_end and subscription.trial_end > now:
        return []
    rest = max(subscription.current_period_end - now, timedelta())
    share = Decimal(rest // MICROSECOND) / Decimal(
        (subscription.current_period_end - subscription.current_period_start) // MICROSECOND
    )
    credit, price = (
        (plan.amount * share).quantize(CENT, rounding=ROUND_HALF_UP) for plan in (old, new)
    )
    lines = [
        InvoiceLine("proration", f"Unused time on {old.name}", -credit),
        InvoiceLine("proration", f"Remaining time on {new.name}", price),
    ]
    return [line for line in lines if line.amount]
