"""Plans: create and change."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType, structs

from ..web import Call, Operation
from .crud import read_operations
from .models import (
    PLANS,
    AmountInput,
    BillingInterval,
    Currency,
    Days,
    MetadataChanges,
    MetadataFilter,
    MetadataInput,
    Name,
    Plan,
    Text,
)
from .table import PageQuery, provided_fields


class NewPlan(Struct, forbid_unknown_fields=True):
    """A new plan."""

    name: Name
    amount: AmountInput
    currency: Currency
    billing_interval: BillingInterval = "month"
    description: Text = ""
    trial_days: Days = 0
    metadata: MetadataInput = {}


class PlanChanges(Struct, forbid_unknown_fields=True):
    """Changes to a plan. An inactive plan accepts no new subscriptions."""

    name: Name | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    trial_days: Days | UnsetType = UNSET
    active: bool | UnsetType = UNSET
    metadata: MetadataChanges | UnsetType = UNSET


class PlanQuery(PageQuery, kw_only=True):
    """Filters of the list of plans."""

    active: bool | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    billing_interval: BillingInterval | UnsetType = UNSET
    metadata: MetadataFilter | UnsetType = UNSET


def create(call: Call) -> Plan:
    """Create a plan."""
    return PLANS.insert(call.cursor, **structs.asdict(call.body))


def update(call: Call) -> Plan:
    """Change a plan. Its amount, currency and interval are fixed."""
    PLANS.get(call.cursor, call.id, lock=True)
    return PLANS.update(call.cursor, call.id, **provided_fields(call.body))


OPERATIONS = [
    *read_operations(PLANS, PlanQuery),
    Operation(
        "createPlan", "POST", "/v1/plans", "Create a plan", create, Plan, NewPlan, status=201
    ),
    Operation("updatePlan", "PATCH", "/v1/plans/{id}", "Change a plan", update, Plan, PlanChanges),
]
