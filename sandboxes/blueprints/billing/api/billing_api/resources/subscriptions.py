"""Subscriptions: create, change, pause, resume and cancel."""

from __future__ import annotations

from datetime import timedelta

from msgspec import UNSET, Struct, UnsetType

from ..cycle import clock
from ..cycle.dunning import end_subscription
from ..cycle.past_due import update_past_due
from ..database import Cursor
from ..web import Call, Operation, conflict
from .crud import read_operations
from .invoices import issue
from .models import (
    PLANS,
    SUBSCRIBERS,
    SUBSCRIPTIONS,
    Days,
    MetadataChanges,
    MetadataInput,
    Plan,
    PlanId,
    SubscriberId,
    Subscription,
    SubscriptionStatus,
)
from .table import MomentFilter, PageQuery, provided_fields


class NewSubscription(Struct, forbid_unknown_fields=True):
    """A new subscription. ``trial_days`` defaults to the trial of the plan."""

    subscriber_id: SubscriberId
    plan_id: PlanId
    trial_days: Days | None = None
    metadata: MetadataInput = {}


class SubscriptionChanges(Struct, forbid_unknown_fields=True):
    """Changes to a subscription. A new plan applies from the next invoice on."""

    plan_id: PlanId | UnsetType = UNSET
    cancel_at_period_end: bool | UnsetType = UNSET
    metadata: MetadataChanges | UnsetType = UNSET


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
    if subscription.status == "canceled" and changes.keys() - {"metadata"}:
        raise conflict(f"Subscription {call.id!r} is canceled; create a new one.")
    if changes.get("plan_id", subscription.plan_id) != subscription.plan_id:
        _get_active_plan(call.cursor, changes["plan_id"])
    return SUBSCRIPTIONS.update(call.cursor, call.id, **changes)


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
