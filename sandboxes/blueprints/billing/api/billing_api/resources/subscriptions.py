"""Subscriptions: create, change, pause, resume and cancel."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Literal

from msgspec import UNSET, Struct, UnsetType, structs

from ..cycle import clock
from ..cycle.dunning import end_subscription
from ..cycle.past_due import update_past_due
from ..cycle.proration import change_lines, period_content, total
from ..database import Cursor
from ..web import Call, Operation, conflict, invalid
from .crud import read_operations
from .invoices import issue, issue_lines
from .models import (
    PLANS,
    SUBSCRIBERS,
    SUBSCRIPTIONS,
    Amount,
    Currency,
    Days,
    InvoiceLine,
    MetadataChanges,
    MetadataFilter,
    MetadataInput,
    Plan,
    PlanId,
    SubscriberId,
    Subscription,
    SubscriptionStatus,
    Timestamp,
)
from .table import MomentFilter, PageQuery, provided_fields

Proration = Literal["none", "next_invoice", "invoice_now"]


class NewSubscription(Struct, forbid_unknown_fields=True):
    """A new subscription. ``trial_days`` defaults to the trial of the plan."""

    subscriber_id: SubscriberId
    plan_id: PlanId
    trial_days: Days | None = None
    metadata: MetadataInput = {}


class SubscriptionChanges(Struct, forbid_unknown_fields=True):
    """Changes to a subscription. A new plan applies from the next invoice on.

    ``proration`` bills the rest of the current period: with the next invoice, or with an invoice
    now. A credit that exceeds the price is kept for the next invoice.
    """

    plan_id: PlanId | UnsetType = UNSET
    proration: Proration = "none"
    cancel_at_period_end: bool | UnsetType = UNSET
    metadata: MetadataChanges | UnsetType = UNSET


class PlanChange(Struct, forbid_unknown_fields=True):
    """A change of plan to look at before making it."""

    plan_id: PlanId
    proration: Proration = "invoice_now"


class PlanChangePreview(Struct):
    """What a change of plan would cost: now, and with the next invoice."""

    currency: Currency
    lines: list[InvoiceLine]
    amount_due_now: Amount
    next_invoice_at: Timestamp
    next_invoice_lines: list[InvoiceLine]
    next_invoice_amount: Amount


class Cancellation(Struct, forbid_unknown_fields=True):
    """When to cancel: immediately, or at the end of the current period."""

    at_period_end: bool = False


class SubscriptionQuery(PageQuery, kw_only=True):
    """Filters of the list of subscriptions."""

    subscriber_id: SubscriberId | UnsetType = UNSET
    plan_id: PlanId | UnsetType = UNSET
    status: SubscriptionStatus | UnsetType = UNSET
    created_after: MomentFilter | UnsetType = UNSET
    created_before: MomentFilter | UnsetType = UNSET
    metadata: MetadataFilter | UnsetType = UNSET


def subscribe(call: Call) -> Subscription:
    """Create a subscription, with a trial or with an open invoice for the first period.

    The invoice is paid with the subscriber's default payment method, if there is one.
    """
    body: NewSubscription = call.body
    subscriber = SUBSCRIBERS.get_referenced(call.cursor, "subscriber_id", body.subscriber_id)
    plan = _get_active_plan(call.cursor, body.plan_id)
    trial_days = plan.trial_days if body.trial_days is None else body.trial_days
    now = clock.now(call.cursor)
    end = (
        now + timedelta(days=trial_days)
        if trial_days
        else clock.period_end(now, now, plan.billing_interval)
    )
    subscription = SUBSCRIPTIONS.insert(
        call.cursor,
        subscriber_id=subscriber.id,
        plan_id=plan.id,
        status="trialing" if trial_days else "active",
        started_at=now,
        current_period_start=now,
        current_period_end=end,
        trial_end=end if trial_days else None,
        billing_anchor=end if trial_days else now,
        metadata=body.metadata,
    )
    if not trial_days:
        issue(call.cursor, subscription, plan)
    return SUBSCRIPTIONS.get(call.cursor, subscription.id)


def update(call: Call) -> Subscription:
    """Change the plan, or whether the subscription ends with the current period."""
    subscription = SUBSCRIPTIONS.get(call.cursor, call.id, lock=True)
    changes = provided_fields(call.body)
    proration = changes.pop("proration")
    if subscription.status == "canceled" and changes.keys() - {"metadata"}:
        raise conflict(f"Subscription {call.id!r} is canceled; create a new one.")
    if changes.get("plan_id", subscription.plan_id) != subscription.plan_id:
        _change_plan(call.cursor, subscription, changes.pop("plan_id"), proration)
    elif proration != "none":
        raise invalid("proration", "only allowed with a new `plan_id`")
    SUBSCRIPTIONS.update(call.cursor, call.id, **changes)
    return SUBSCRIPTIONS.get(call.cursor, call.id)


def preview(call: Call) -> PlanChangePreview:
    """Return what a change of plan would cost, without making it."""
    subscription = SUBSCRIPTIONS.get(call.cursor, call.id)
    if subscription.status == "canceled":
        raise conflict(f"Subscription {call.id!r} is canceled; create a new one.")
    body: PlanChange = call.body
    plan, lines = _plan_change(call.cursor, subscription, body.plan_id, body.proration)
    due_now = body.proration == "invoice_now" and total(lines) > 0
    pending = [*subscription.pending_lines, *([] if due_now else lines)]
    content = period_content(structs.replace(subscription, pending_lines=pending), plan)
    return PlanChangePreview(
        plan.currency,
        lines,
        total(lines) if due_now else Decimal("0.00"),
        subscription.current_period_end,
        content.lines,
        content.amount,
    )


def pause(call: Call) -> Subscription:
    """Pause billing until the subscription is resumed."""
    _require_status(call, "trialing", "active")
    now = clock.now(call.cursor)
    return SUBSCRIPTIONS.update(call.cursor, call.id, status="paused", paused_at=now)


def resume(call: Call) -> Subscription:
    """Resume billing. If the period has ended, start a new one with an open invoice.

    The subscription is past due if an invoice was not paid in the meantime.
    """
    subscription = _require_status(call, "paused")
    plan = PLANS.get(call.cursor, subscription.plan_id)
    now = clock.now(call.cursor)
    if subscription.current_period_end > now:
        on_trial = subscription.trial_end is not None and subscription.trial_end > now
        status = "trialing" if on_trial else "active"
        SUBSCRIPTIONS.update(call.cursor, call.id, status=status, paused_at=None)
    else:
        subscription = SUBSCRIPTIONS.update(
            call.cursor,
            call.id,
            status="active",
            paused_at=None,
            current_period_start=now,
            current_period_end=clock.period_end(now, now, plan.billing_interval),
            billing_anchor=now,
        )
        issue(call.cursor, subscription, plan)
    update_past_due(call.cursor, call.id)
    return SUBSCRIPTIONS.get(call.cursor, call.id)


def cancel(call: Call) -> Subscription:
    """Cancel the subscription. Its drafts become void; open invoices remain due."""
    subscription = SUBSCRIPTIONS.get(call.cursor, call.id, lock=True)
    if subscription.status == "canceled":
        raise conflict(f"Subscription {call.id!r} is already canceled.")
    if call.body.at_period_end:
        return SUBSCRIPTIONS.update(call.cursor, call.id, cancel_at_period_end=True)
    end_subscription(call.cursor, call.id)
    return SUBSCRIPTIONS.get(call.cursor, call.id)


def _plan_change(
    cursor: Cursor, subscription: Subscription, plan_id: str, proration: Proration
) -> tuple[Plan, list[InvoiceLine]]:
    """Return the new plan, and the lines for the rest of the period."""
    plan = _get_active_plan(cursor, plan_id)
    old = PLANS.get(cursor, subscription.plan_id)
    if plan.currency != old.currency and subscription.pending_lines:
        raise conflict(
            f"Subscription {subscription.id!r} has pending lines in {old.currency};"
            " change the currency after the next invoice."
        )
    if proration == "none":
        return plan, []
    if (plan.currency, plan.billing_interval) != (old.currency, old.billing_interval):
        raise invalid("proration", "must be none, as the currency or interval of the plans differs")
    return plan, change_lines(subscription, old, plan, clock.now(cursor))


def _change_plan(
    cursor: Cursor, subscription: Subscription, plan_id: str, proration: Proration
) -> None:
    """Change the plan of a locked subscription, and bill the rest of the period."""
    plan, lines = _plan_change(cursor, subscription, plan_id, proration)
    changed = SUBSCRIPTIONS.update(cursor, subscription.id, plan_id=plan.id)
    if proration == "invoice_now" and total(lines) > 0:
        issue_lines(cursor, changed, plan, lines)
    elif lines:
        pending = [*subscription.pending_lines, *lines]
        SUBSCRIPTIONS.update(cursor, subscription.id, pending_lines=pending)


def _get_active_plan(cursor: Cursor, row_id: str) -> Plan:
    plan = PLANS.get_referenced(cursor, "plan_id", row_id)
    if not plan.active:
        raise conflict(f"Plan {plan.id!r} is inactive and accepts no new subscriptions.")
    return plan


def _require_status(call: Call, *allowed: SubscriptionStatus) -> Subscription:
    subscription = SUBSCRIPTIONS.get(call.cursor, call.id, lock=True)
    if subscription.status not in allowed:
        raise conflict(
            f"Subscription {call.id!r} is {subscription.status};"
            f" this is only possible while it is {' or '.join(allowed)}."
        )
    return subscription


PATH = "/v1/subscriptions"
ONE = f"{PATH}/{{id}}"
OPERATIONS = [
    *read_operations(SUBSCRIPTIONS, SubscriptionQuery),
    Operation(
        "createSubscription",
        "POST",
        PATH,
        "Subscribe to a plan",
        subscribe,
        Subscription,
        NewSubscription,
        status=201,
    ),
    Operation(
        "updateSubscription",
        "PATCH",
        ONE,
        "Change a subscription",
        update,
        Subscription,
        SubscriptionChanges,
    ),
    Operation(
        "previewSubscription",
        "POST",
        f"{ONE}/preview",
        "Preview a change of plan",
        preview,
        PlanChangePreview,
        PlanChange,
    ),
    Operation(
        "pauseSubscription", "POST", f"{ONE}/pause", "Pause a subscription", pause, Subscription
    ),
    Operation(
        "resumeSubscription", "POST", f"{ONE}/resume", "Resume a subscription", resume, Subscription
    ),
    Operation(
        "cancelSubscription",
        "POST",
        f"{ONE}/cancel",
        "Cancel a subscription",
        cancel,
        Subscription,
        Cancellation,
        body_required=False,
    ),
]
