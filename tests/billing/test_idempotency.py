"""Requests with an `Idempotency-Key` run once, as in the portal's own API."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import psycopg
import pytest

from tests.billing.conftest import BillingDatabase
from tests.billing.harness import ApiClient, assert_problem

pytestmark = pytest.mark.postgres

INVOICE = {"subscriber_id": "sub_010", "amount": "49.00", "currency": "EUR"}


def send(
    api: ApiClient, path: str, body: Any = None, key: str = "k", method: str = "POST"
) -> httpx2.Response:
    return api.request(method, f"/v1/{path}", json=body, headers={"Idempotency-Key": key})


def count(api: ApiClient, resource: str) -> int:
    return int(api.ok("GET", f"/v1/{resource}")["total"])


def test_a_repeated_request_gets_the_first_response(api: ApiClient) -> None:
    first, again = send(api, "invoices", INVOICE), send(api, "invoices", INVOICE)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first.headers["Location"] == again.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert count(api, "invoices") == 21


def test_a_repeated_action_gets_the_first_response(api: ApiClient) -> None:
    first = send(api, "invoices/inv_007/pay", {"method": "card"})
    assert first.json()["status"] == "paid"
    # The defaults and the order of the fields don't matter.
    assert send(api, "invoices/inv_007/pay").content == first.content
    settled = send(api, "payments/pay_017", {"status": "succeeded"}, method="PATCH")
    again = send(api, "payments/pay_017", {"status": "succeeded"}, method="PATCH")
    assert settled.status_code == again.status_code == 200
    assert settled.content == again.content


def test_a_key_with_a_different_body_is_rejected(api: ApiClient) -> None:
    send(api, "invoices", INVOICE)
    changed = send(api, "invoices", INVOICE | {"amount": "50.00"})
    assert_problem(changed, 422, "different request", field="Idempotency-Key")
    assert count(api, "invoices") == 21


def test_keys_of_different_routes_are_independent(api: ApiClient) -> None:
    assert send(api, "invoices", INVOICE).status_code == 201
    plan = {"name": "Gold", "amount": "1.00", "currency": "EUR"}
    assert send(api, "plans", plan).json()["name"] == "Gold"
    for invoice in ("inv_007", "inv_011"):
        assert send(api, f"invoices/{invoice}/pay").json()["id"] == invoice


def test_requests_without_a_key_are_independent(api: ApiClient) -> None:
    for _ in range(2):
        api.ok("POST", "/v1/invoices", 201, json=INVOICE)
    assert count(api, "invoices") == 22


def test_concurrent_requests_with_one_key_run_once(api: ApiClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        responses = [*pool.map(lambda _: send(api, "invoices", INVOICE), range(8))]
    assert {response.status_code for response in responses} == {201}
    assert len({response.json()["id"] for response in responses}) == 1
    replayed = [r for r in responses if "Idempotent-Replayed" in r.headers]
    assert len(replayed) == 7
    assert count(api, "invoices") == 21


def test_a_failed_request_does_not_use_up_its_key(api: ApiClient) -> None:
    assert_problem(send(api, "payments/pay_007/refund"), 409)
    assert_problem(send(api, "payments/pay_007/refund", {"a": 1}), 422)
    api.ok("PATCH", "/v1/payments/pay_007", json={"status": "succeeded"})
    assert send(api, "payments/pay_007/refund").json()["status"] == "refunded"
    assert_problem(send(api, "invoices", {}, key="other"), 422, field="subscriber_id")
    assert send(api, "invoices", INVOICE, key="other").status_code == 201


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "a\tb", "clé"])
def test_a_key_has_up_to_255_visible_ascii_characters(reader: ApiClient, key: str) -> None:
    headers = {"Idempotency-Key": key.encode()}
    response = reader.post("/v1/invoices", json=INVOICE, headers=headers)
    assert_problem(response, 422, "255", field="Idempotency-Key")


def test_the_longest_key_is_accepted(api: ApiClient) -> None:
    assert send(api, "invoices", INVOICE, key="k" * 255).status_code == 201


def test_reading_ignores_a_key(reader: ApiClient) -> None:
    for path in ("plans", "invoices"):
        assert send(reader, path, key="k", method="GET").status_code == 200


def test_keys_are_forgotten_after_a_day_and_beyond_a_number(
    api: ApiClient, db: psycopg.Connection
) -> None:
    first = send(api, "invoices", INVOICE, key="old").json()["id"]
    db.execute("UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 second'")
    second = send(api, "invoices", INVOICE, key="old").json()["id"]
    assert first != second
    db.execute(
        "INSERT INTO idempotency_keys (route, key, request_hash, response)"
        " SELECT 'POST /v1/plans', n::text, '', '{}' FROM generate_series(1, 12000) n"
    )
    assert send(api, "invoices", INVOICE, key="old").json()["id"] not in (first, second)
    assert db.execute("SELECT count(*) FROM idempotency_keys").fetchone() == (10_001,)


def test_a_reset_forgets_all_keys(api: ApiClient, billing_database: BillingDatabase) -> None:
    send(api, "invoices", INVOICE)
    billing_database.restore()
    again = send(api, "invoices", INVOICE)
    assert again.status_code == 201 and "Idempotent-Replayed" not in again.headers
    billing_database.changed = True


def test_a_key_is_not_stored_without_its_change(api: ApiClient, db: psycopg.Connection) -> None:
    db.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION $$no$$; END'"
    )
    db.execute(
        "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON invoices DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION fail()"
    )
    assert send(api, "invoices", INVOICE).status_code == 503
    assert db.execute("SELECT count(*) FROM idempotency_keys").fetchone() == (0,)
    db.execute("DROP TRIGGER fail ON invoices")
    assert send(api, "invoices", INVOICE).status_code == 201
