"""Changes of plan, with proration and a preview."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.billing.harness import ApiClient, assert_problem

pytestmark = pytest.mark.postgres


def halfway(api: ApiClient) -> str:
    """Subscribe sub_010 to Team (49.00), go to the middle of the period, and return the id."""
    api.ok("POST", "/v1/payment_methods", 201, json={"subscriber_id": "sub_010"})
    api.ok("POST", "/v1/test_clock", json={"freeze": True})
    body = {"subscriber_id": "sub_010", "plan_id": "plan_team", "trial_days": 0}
    subscription = api.ok("POST", "/v1/subscriptions", 201, json=body)
    start, end = subscription["current_period_start"], subscription["current_period_end"]
    days = 14 if start[:7] == "2027-02" else 15
    assert start < end
    api.ok("POST", "/v1/test_clock", json={"advance_by": f"P{days}D"})
    return str(subscription["id"])


def change(api: ApiClient, subscription: str, plan: str, proration: str) -> dict[str, Any]:
    body = {"plan_id": plan, "proration": proration}
    preview = api.ok("POST", f"/v1/subscriptions/{subscription}/preview", json=body)
    api.ok("PATCH", f"/v1/subscriptions/{subscription}", json=body)
    return preview


def invoices(api: ApiClient, subscription: str) -> list[dict[str, Any]]:
    rows = api.list_all(f"/v1/invoices?limit=100&subscription_id={subscription}")
    return sorted(rows, key=lambda row: str(row["number"]))


def amounts(lines: list[dict[str, Any]]) -> list[Decimal]:
    return [Decimal(line["amount"]) for line in lines]


def test_an_upgrade_is_invoiced_now_as_the_preview_said(api: ApiClient) -> None:
    subscription = halfway(api)
    plan = {"name": "Big", "amount": "149.00", "currency": "USD"}
    big = api.ok("POST", "/v1/plans", 201, json=plan)["id"]
    preview = change(api, subscription, big, "invoice_now")
    credit, price = amounts(preview["lines"])
    assert credit < 0 < price and abs(credit / price + Decimal(49) / 149) < Decimal("0.001")
    invoice = invoices(api, subscription)[-1]
    assert invoice["lines"] == preview["lines"] and invoice["status"] == "paid"
    assert invoice["amount"] == preview["amount_due_now"] == str(credit + price)
    assert preview["next_invoice_amount"] == "149.00"


def test_a_downgrade_is_a_credit_on_the_next_invoices(api: ApiClient) -> None:
    subscription = halfway(api)
    preview = change(api, subscription, "plan_starter", "invoice_now")
    [credit, price] = amounts(preview["lines"])
    assert preview["amount_due_now"] == "0.00" and credit + price < -12
    api.ok("POST", "/v1/test_clock", json={"advance_by": "P3M"})
    _, second, third, *_ = invoices(api, subscription)
    assert second["lines"] == preview["next_invoice_lines"]
    assert (second["amount"], second["status"]) == ("0.00", "paid")
    assert Decimal(third["amount"]) == 24 + credit + price
    for invoice in (second, third):
        assert sum(amounts(invoice["lines"])) == Decimal(invoice["amount"])


def test_a_change_without_proration_applies_from_the_next_invoice(api: ApiClient) -> None:
    subscription = halfway(api)
    preview = change(api, subscription, "plan_starter", "none")
    assert (preview["lines"], preview["next_invoice_amount"]) == ([], "12.00")
    assert len(invoices(api, subscription)) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"plan_id": "plan_business", "proration": "invoice_now"}, "proration"),
        ({"plan_id": "plan_team_yearly", "proration": "next_invoice"}, "proration"),
        ({"plan_id": "plan_x"}, "plan_id"),
        ({"plan_id": "plan_starter", "proration": "later"}, "proration"),
    ],
)
def test_an_invalid_change_of_plan_is_reported(
    reader: ApiClient, body: dict[str, Any], field: str
) -> None:
    for method, path in (("PATCH", ""), ("POST", "/preview")):
        response = reader.request(method, f"/v1/subscriptions/sbn_001{path}", json=body)
        assert_problem(response, 422, field=field)


def test_proration_needs_another_plan(reader: ApiClient) -> None:
    body = {"proration": "invoice_now"}
    assert_problem(reader.patch("/v1/subscriptions/sbn_001", json=body), 422, field="proration")
