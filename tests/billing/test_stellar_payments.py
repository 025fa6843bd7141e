"""Payments of invoices on Stellar's network, as the portal reports them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.billing.harness import STELLAR_ADDRESS, ApiClient, assert_problem

pytestmark = pytest.mark.postgres

HASH = "ab" * 32
ISSUED = f"USDC:{STELLAR_ADDRESS}"


@pytest.fixture
def payment(api: ApiClient) -> dict[str, Any]:
    return api.ok("POST", "/v1/stellar_payments", 201, json={"invoice_id": "inv_007"})


def transfer(payment: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the transfer that pays, as the portal reports it, with some changes."""
    now = datetime.now(UTC).isoformat()
    parties = {"source": STELLAR_ADDRESS, "destination": STELLAR_ADDRESS}
    what = {"asset": "native", "amount": payment["amount"], "memo": payment["memo"]}
    return {"operation_id": "42", "hash": HASH, "at": now} | parties | what | changes


def report(api: ApiClient, *transfers: dict[str, Any], **rest: Any) -> int:
    body = {"transfers": transfers, **rest}
    return int(api.ok("POST", "/v1/stellar_transfers", json=body)["recorded"])


def test_a_transfer_with_the_right_memo_and_amount_pays_the_invoice_once(
    api: ApiClient, payment: dict[str, Any]
) -> None:
    assert (payment["address"], payment["status"]) == (STELLAR_ADDRESS, "waiting")
    assert len(payment["memo"].encode()) <= 28
    assert report(api, transfer(payment)) == 1
    assert report(api, transfer(payment)) == 0
    paid = api.ok("GET", f"/v1/stellar_payments/{payment['id']}")
    assert (paid["status"], paid["transaction_hash"], paid["problem"]) == ("paid", HASH, "")
    assert api.ok("GET", "/v1/invoices/inv_007")["status"] == "paid"
    made = api.ok("GET", f"/v1/payments/{payment['payment_id']}")
    assert (made["method"], made["status"]) == ("stellar", "succeeded")
    types = [one["type"] for one in api.list_all(f"/v1/events?object_id={payment['id']}")]
    assert types == ["stellar_payment.paid", "stellar_payment.created"]


LATER = (datetime.now(UTC) + timedelta(hours=2)).isoformat()


@pytest.mark.parametrize(
    ("changes", "outcome", "words"),
    [
        ({"amount": "1.0000000"}, "wrong_amount", "wrong amount: 1.0000000 XLM"),
        ({"asset": ISSUED}, "wrong_asset", "only XLM"),
        ({"memo": "mine"}, "unknown_memo", "memo 'mine'"),
        ({"at": LATER}, "late", "too late"),
    ],
)
def test_what_is_wrong_with_a_transfer_is_told(
    api: ApiClient, payment: dict[str, Any], changes: dict[str, Any], outcome: str, words: str
) -> None:
    path = f"/v1/stellar_payments/{payment['id']}"
    api.ok("POST", f"{path}/look-up", json={"transaction_hash": HASH})
    assert report(api, transfer(payment, **changes)) == 1
    found = api.ok("GET", path)
    assert words in found["problem"]
    assert found["status"] == ("late" if outcome == "late" else "waiting")
    rows = api.list_all(f"/v1/stellar_transfers?outcome={outcome}")
    [row] = [one for one in rows if one["id"] != "stt_001"]
    assert row["transaction_hash"] == HASH
    assert api.ok("GET", "/v1/invoices/inv_007")["status"] == "open"


def test_a_right_transfer_after_a_wrong_one_pays(api: ApiClient, payment: dict[str, Any]) -> None:
    report(api, transfer(payment, amount="1"))
    report(api, transfer(payment, operation_id="43"))
    assert api.ok("GET", "/v1/invoices/inv_007")["status"] == "paid"


def test_transfers_to_others_and_for_closed_invoices_change_nothing(
    api: ApiClient, payment: dict[str, Any]
) -> None:
    assert report(api, transfer(payment, destination="G" + "A" * 55)) == 0
    api.ok("POST", "/v1/invoices/inv_007/void")
    assert report(api, transfer(payment)) == 1
    found = api.ok("GET", f"/v1/stellar_payments/{payment['id']}")
    assert "can't be paid any more" in found["problem"]


def test_a_problem_of_the_portal_is_told_and_old_payments_expire(
    api: ApiClient, payment: dict[str, Any], db: psycopg.Connection
) -> None:
    path = f"/v1/stellar_payments/{payment['id']}"
    report(api, problem="The portal can't reach Stellar's network now.")
    assert "reach" in api.ok("GET", path)["problem"]
    api.ok("POST", f"{path}/look-up", json={"transaction_hash": HASH})
    report(api, missing=[HASH])
    assert "no transaction" in api.ok("GET", path)["problem"]
    db.execute("UPDATE stellar_payments SET expires_at = now() - interval '2 hours'")
    report(api)
    assert api.list_all("/v1/stellar_payments?status=waiting") == []


def test_an_invoice_that_cannot_be_paid_is_refused(reader: ApiClient) -> None:
    refused = reader.post("/v1/stellar_payments", json={"invoice_id": "inv_001"})
    assert_problem(refused, 409, "paid")
    unknown = reader.post("/v1/stellar_payments", json={"invoice_id": "inv_x"})
    assert_problem(unknown, 422, field="invoice_id")


@pytest.mark.parametrize("changes", [{"operation_id": "\0"}, {"amount": "1e3"}, {"hash": "ab"}])
def test_an_invalid_transfer_is_refused(
    api: ApiClient, payment: dict[str, Any], changes: dict[str, str]
) -> None:
    body = {"transfers": [transfer(payment, **changes)]}
    assert_problem(api.post("/v1/stellar_transfers", json=body), 422)
