"""Invoices and payments: issue, pay, fail, refund, void and write off."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.billing.harness import ApiClient, assert_problem

pytestmark = pytest.mark.postgres


def status_of(api: ApiClient, path: str) -> str:
    return str(api.ok("GET", f"/v1/{path}")["status"])


def payments_of(api: ApiClient, invoice: str) -> list[dict[str, Any]]:
    return api.list_all(f"/v1/payments?invoice_id={invoice}")


def pay(api: ApiClient, invoice: str, **body: Any) -> dict[str, Any]:
    return api.ok("POST", "/v1/payments", 201, json={"invoice_id": invoice, **body})


def test_paying_an_invoice_records_the_payment(api: ApiClient) -> None:
    paid = api.ok("POST", "/v1/invoices/inv_007/pay", json={"method": "stellar"})
    assert paid["status"] == "paid" and paid["paid_at"]
    payment = payments_of(api, "inv_007")[0]
    assert (payment["status"], payment["method"]) == ("succeeded", "stellar")
    assert (payment["amount"], payment["currency"]) == (paid["amount"], paid["currency"])
    assert payment["processed_at"] == paid["paid_at"]
    assert payment["subscriber_id"] == paid["subscriber_id"]


def test_an_invoice_is_paid_by_card_by_default(api: ApiClient) -> None:
    api.ok("POST", "/v1/invoices/inv_007/pay")
    assert payments_of(api, "inv_007")[0]["method"] == "card"


def test_an_uncollectible_invoice_can_still_be_paid(api: ApiClient) -> None:
    paid = api.ok("POST", "/v1/invoices/inv_018/pay")
    assert (paid["status"], paid["uncollectible_at"]) == ("paid", None)


@pytest.mark.parametrize(
    ("invoice", "action"),
    [
        ("inv_001", "pay"),
        ("inv_008", "pay"),
        ("inv_019", "pay"),
        ("inv_001", "void"),
        ("inv_019", "void"),
        ("inv_007", "finalize"),
        ("inv_001", "finalize"),
        ("inv_008", "write-off"),
        ("inv_018", "write-off"),
    ],
)
def test_an_action_that_the_status_does_not_allow_is_a_conflict(
    reader: ApiClient, invoice: str, action: str
) -> None:
    status = status_of(reader, f"invoices/{invoice}")
    assert_problem(reader.post(f"/v1/invoices/{invoice}/{action}"), 409, status)


def test_only_one_of_many_concurrent_payments_succeeds(api: ApiClient) -> None:
    def attempt(_: int) -> int:
        return api.post("/v1/invoices/inv_007/pay").status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = sorted(pool.map(attempt, range(12)))
    assert statuses == [200] + [409] * 11
    succeeded = [p for p in payments_of(api, "inv_007") if p["status"] == "succeeded"]
    assert len(succeeded) == 1


def test_an_overdue_subscription_becomes_active_when_its_invoice_is_paid(api: ApiClient) -> None:
    assert status_of(api, "subscriptions/sbn_004") == "past_due"
    api.ok("POST", "/v1/invoices/inv_011/pay")
    assert status_of(api, "subscriptions/sbn_004") == "active"


def test_a_payment_can_be_made_to_fail(api: ApiClient) -> None:
    failed = pay(api, "inv_007", status="failed", failure_reason="expired_card")
    assert (failed["status"], failed["failure_reason"]) == ("failed", "expired_card")
    assert status_of(api, "invoices/inv_007") == "open"
    assert status_of(api, "subscriptions/sbn_002") == "past_due"
    assert pay(api, "inv_007", status="failed", method="stellar")["failure_reason"]


def test_a_pending_payment_is_settled_later(api: ApiClient) -> None:
    pending = pay(api, "inv_007", status="pending")
    assert (pending["status"], pending["processed_at"]) == ("pending", None)
    assert status_of(api, "invoices/inv_007") == "open"
    path = f"/v1/payments/{pending['id']}"
    assert api.ok("PATCH", path, json={"status": "succeeded"})["processed_at"]
    assert status_of(api, "invoices/inv_007") == "paid"
    assert_problem(api.patch(path, json={"status": "failed"}), 409, "succeeded")


def test_a_second_payment_of_a_paid_invoice_is_a_conflict(api: ApiClient) -> None:
    body = {"invoice_id": "inv_001"}
    assert_problem(api.post("/v1/payments", json=body), 409, "paid")
    api.ok("POST", "/v1/invoices/inv_007/pay")
    assert_problem(api.patch("/v1/payments/pay_007", json={"status": "succeeded"}), 409, "paid")
    assert api.ok("PATCH", "/v1/payments/pay_007", json={"status": "failed"})["failure_reason"]


def test_a_late_failure_does_not_affect_the_subscription_of_a_paid_invoice(api: ApiClient) -> None:
    api.ok("POST", "/v1/invoices/inv_007/pay")
    api.ok("PATCH", "/v1/payments/pay_007", json={"status": "failed"})
    assert status_of(api, "subscriptions/sbn_002") == "active"


def test_a_refund_is_complete_and_voids_the_invoice(api: ApiClient) -> None:
    refunded = api.ok("POST", "/v1/payments/pay_001/refund")
    assert refunded["status"] == "refunded" and refunded["refunded_at"]
    invoice = api.ok("GET", "/v1/invoices/inv_001")
    assert (invoice["status"], invoice["paid_at"]) == ("void", None)


@pytest.mark.parametrize("payment", ["pay_007", "pay_009", "pay_020"])
def test_only_a_succeeded_payment_can_be_refunded(reader: ApiClient, payment: str) -> None:
    status = status_of(reader, f"payments/{payment}")
    assert_problem(reader.post(f"/v1/payments/{payment}/refund"), 409, status)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"invoice_id": "inv_x"}, "invoice_id"),
        ({}, "invoice_id"),
        ({"invoice_id": "inv_007", "method": "cash"}, "method"),
        ({"invoice_id": "inv_007", "status": "refunded"}, "status"),
        ({"invoice_id": "inv_007", "failure_reason": "none"}, "failure_reason"),
        ({"invoice_id": "inv_007", "status": "failed", "failure_reason": "No!"}, "failure_reason"),
        ({"invoice_id": "inv_007", "amount": "1.00"}, "amount"),
    ],
)
def test_an_invalid_payment_is_reported_by_its_field(
    reader: ApiClient, body: dict[str, Any], field: str
) -> None:
    assert_problem(reader.post("/v1/payments", json=body), 422, field=field)


def test_an_invoice_of_a_subscription_has_the_price_of_the_plan(api: ApiClient) -> None:
    body = {"subscriber_id": "sub_001", "subscription_id": "sbn_001", "due_in_days": 3}
    invoice = api.ok("POST", "/v1/invoices", 201, json=body)
    assert (invoice["status"], invoice["amount"], invoice["currency"]) == ("open", "49.00", "USD")
    due = datetime.fromisoformat(invoice["due_at"]) - datetime.fromisoformat(invoice["issued_at"])
    assert due == timedelta(days=3)


def test_an_invoice_without_a_subscription_needs_a_price(api: ApiClient) -> None:
    body = {"subscriber_id": "sub_010", "description": "Onboarding"}
    assert_problem(api.post("/v1/invoices", json=body), 422, field="amount")
    assert_problem(api.post("/v1/invoices", json={**body, "amount": "80"}), 422, field="currency")
    priced = {**body, "amount": "80", "currency": "CHF"}
    invoice = api.ok("POST", "/v1/invoices", 201, json=priced)
    assert (invoice["amount"], invoice["subscription_id"]) == ("80.00", None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"subscriber_id": "sub_x"}, "subscriber_id"),
        ({"subscriber_id": "sub_001", "subscription_id": "sbn_002"}, "subscription_id"),
        ({"subscriber_id": "sub_001", "subscription_id": "sbn_x"}, "subscription_id"),
        ({"subscriber_id": "sub_001", "due_in_days": 366}, "due_in_days"),
        ({"subscriber_id": "sub_001", "status": "paid"}, "status"),
    ],
)
def test_an_invalid_invoice_is_reported_by_its_field(
    reader: ApiClient, body: dict[str, Any], field: str
) -> None:
    assert_problem(reader.post("/v1/invoices", json=body), 422, field=field)


def test_a_currency_alone_never_changes_what_an_amount_means(api: ApiClient) -> None:
    body = {"subscriber_id": "sub_002", "subscription_id": "sbn_002"}  # 199.00 EUR
    assert_problem(
        api.post("/v1/invoices", json={**body, "currency": "GBP"}), 422, "EUR", field="currency"
    )
    draft = "/v1/invoices/inv_008"  # 12.00 USD
    assert_problem(api.patch(draft, json={"currency": "GBP"}), 422, "USD", field="currency")
    assert api.ok("POST", "/v1/invoices", 201, json={**body, "currency": "EUR"})
    priced = {"amount": "170.00", "currency": "GBP"}
    assert api.ok("POST", "/v1/invoices", 201, json=body | priced).items() >= priced.items()
    assert api.ok("PATCH", draft, json=priced).items() >= priced.items()
    assert api.ok("POST", "/v1/invoices", 201, json={**body, "amount": "5"})["currency"] == "EUR"


def test_a_draft_can_be_changed_and_then_issued(api: ApiClient) -> None:
    body = {"subscriber_id": "sub_010", "amount": "80", "currency": "CHF", "draft": True}
    draft = api.ok("POST", "/v1/invoices", 201, json=body)
    assert (draft["status"], draft["issued_at"], draft["due_at"]) == ("draft", None, None)
    path = f"/v1/invoices/{draft['id']}"
    due = (datetime.now(UTC) + timedelta(days=40)).replace(microsecond=0)
    changes = {"amount": "90.00", "currency": "EUR", "due_at": due.isoformat()}
    assert api.ok("PATCH", path, json=changes)["amount"] == "90.00"
    issued = api.ok("POST", f"{path}/finalize")
    assert issued["status"] == "open" and issued["issued_at"]
    assert datetime.fromisoformat(issued["due_at"]) == due


def test_a_draft_with_a_past_due_date_gets_a_new_one_when_issued(api: ApiClient) -> None:
    path = "/v1/invoices/inv_008"
    api.ok("PATCH", path, json={"due_at": "2020-01-01T00:00:00Z"})
    issued = api.ok("POST", f"{path}/finalize")
    assert issued["due_at"] > issued["issued_at"]


def test_the_price_of_an_open_invoice_cannot_change(api: ApiClient) -> None:
    path = "/v1/invoices/inv_007"
    assert_problem(api.patch(path, json={"amount": "1.00"}), 409, "open")
    assert api.ok("PATCH", path, json={"description": "New words"})["description"] == "New words"
    assert_problem(api.patch(path, json={"due_at": "2020-01-01T00:00:00Z"}), 422, field="due_at")
    assert_problem(api.patch(path, json={"due_at": "9999-01-01T00:00:00Z"}), 422, field="due_at")
    assert_problem(api.patch("/v1/invoices/inv_001", json={"description": "x"}), 409, "paid")


def test_an_open_invoice_can_be_voided_or_written_off(api: ApiClient) -> None:
    assert api.ok("POST", "/v1/invoices/inv_007/void")["voided_at"]
    assert api.ok("POST", "/v1/invoices/inv_011/write-off")["uncollectible_at"]
    voided = api.ok("POST", "/v1/invoices/inv_011/void")
    assert (voided["status"], voided["uncollectible_at"]) == ("void", None)


def test_an_action_on_an_unknown_id_is_not_found(reader: ApiClient) -> None:
    for path in ("invoices/inv_x/pay", "invoices/inv_x/void", "payments/pay_x/refund"):
        assert_problem(reader.post(f"/v1/{path}"), 404)
    assert_problem(reader.patch("/v1/payments/pay_x", json={"status": "failed"}), 404)


ENDINGS = [("pay", "paid"), ("void", "void"), ("write-off", "uncollectible")]


@pytest.mark.parametrize(("action", "status"), ENDINGS)
def test_a_subscription_is_active_again_once_its_failed_invoice_is_closed(
    api: ApiClient, action: str, status: str
) -> None:
    pay(api, "inv_007", status="failed")
    assert status_of(api, "subscriptions/sbn_002") == "past_due"
    assert api.ok("POST", f"/v1/invoices/inv_007/{action}")["status"] == status
    assert status_of(api, "subscriptions/sbn_002") == "active"


@pytest.mark.parametrize(("action", "status"), ENDINGS)
@pytest.mark.parametrize("first", [0, 1])
def test_a_subscription_stays_past_due_while_another_invoice_has_failed(
    api: ApiClient, action: str, status: str, first: int
) -> None:
    body = {"subscriber_id": "sub_002", "subscription_id": "sbn_002"}
    invoices = ["inv_007", api.ok("POST", "/v1/invoices", 201, json=body)["id"]]
    for invoice in invoices:
        pay(api, invoice, status="failed")
    api.ok("POST", f"/v1/invoices/{invoices.pop(first)}/{action}")
    assert status_of(api, "subscriptions/sbn_002") == "past_due"
    api.ok("POST", f"/v1/invoices/{invoices.pop()}/{action}")
    assert status_of(api, "subscriptions/sbn_002") == "active"


def test_closing_the_failed_invoice_leaves_a_new_open_one_alone(api: ApiClient) -> None:
    pay(api, "inv_007", status="failed")
    body = {"subscriber_id": "sub_002", "subscription_id": "sbn_002"}
    api.ok("POST", "/v1/invoices", 201, json=body)
    assert status_of(api, "subscriptions/sbn_002") == "past_due"
    api.ok("POST", "/v1/invoices/inv_007/void")
    assert status_of(api, "subscriptions/sbn_002") == "active"


def test_an_overdue_invoice_makes_its_subscription_past_due_until_it_is_due_later(
    api: ApiClient,
) -> None:
    issued = datetime.fromisoformat(api.ok("GET", "/v1/invoices/inv_007")["issued_at"])
    later = {"due_at": (datetime.now(UTC) + timedelta(days=3)).isoformat()}
    for due, status in (({"due_at": issued.isoformat()}, "past_due"), (later, "active")):
        api.ok("PATCH", "/v1/invoices/inv_007", json=due)
        assert status_of(api, "subscriptions/sbn_002") == status
    # The last payment of inv_011 has failed.
    api.ok("PATCH", "/v1/invoices/inv_011", json=later)
    assert status_of(api, "subscriptions/sbn_004") == "past_due"


def test_a_refund_does_not_affect_whether_a_subscription_is_past_due(api: ApiClient) -> None:
    api.ok("POST", "/v1/payments/pay_010/refund")
    assert status_of(api, "subscriptions/sbn_004") == "past_due"
    api.ok("POST", "/v1/invoices/inv_011/pay")
    paid = next(p for p in payments_of(api, "inv_011") if p["status"] == "succeeded")
    api.ok("POST", f"/v1/payments/{paid['id']}/refund")
    assert status_of(api, "subscriptions/sbn_004") == "active"


def test_a_paused_or_canceled_subscription_keeps_its_status(api: ApiClient) -> None:
    for action, status in (("pause", "paused"), ("cancel", "canceled")):
        api.ok("POST", f"/v1/subscriptions/sbn_002/{action}")
        pay(api, "inv_007", status="failed")
        assert status_of(api, "subscriptions/sbn_002") == status
    api.ok("POST", "/v1/invoices/inv_007/void")
    assert status_of(api, "subscriptions/sbn_002") == "canceled"


def test_a_subscription_resumes_as_past_due_if_a_payment_failed_while_it_was_paused(
    api: ApiClient,
) -> None:
    api.ok("POST", "/v1/subscriptions/sbn_002/pause")
    pay(api, "inv_007", status="failed")
    assert api.ok("POST", "/v1/subscriptions/sbn_002/resume")["status"] == "past_due"


def test_concurrent_changes_of_several_invoices_leave_the_right_status(api: ApiClient) -> None:
    body = {"subscriber_id": "sub_002", "subscription_id": "sbn_002"}
    invoices = [api.ok("POST", "/v1/invoices", 201, json=body)["id"] for _ in range(8)]
    for invoice in invoices:
        pay(api, invoice, status="failed")
    with ThreadPoolExecutor(8) as pool:
        closed = pool.map(lambda invoice: api.post(f"/v1/invoices/{invoice}/void"), invoices)
        assert {response.status_code for response in closed} == {200}
    assert status_of(api, "subscriptions/sbn_002") == "active"
