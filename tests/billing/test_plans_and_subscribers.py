"""Plans and subscribers: create and change."""

from __future__ import annotations

from typing import Any

import pytest
from stellar_sdk import Keypair

from tests.billing.harness import ApiClient, assert_problem

pytestmark = pytest.mark.postgres

PLAN = {"name": "Gold", "amount": "12.50", "currency": "USD"}
SUBSCRIBER = {"name": "Ada Byron", "email": "ada@example.com", "country": "GB"}


def test_a_new_plan_has_defaults_and_is_found_at_its_location(api: ApiClient) -> None:
    response = api.post("/v1/plans", json=PLAN)
    assert response.status_code == 201
    plan = response.json()
    assert plan["id"].startswith("plan_")
    assert response.headers["Location"] == f"/v1/plans/{plan['id']}"
    assert plan.items() >= {**PLAN, "billing_interval": "month", "trial_days": 0}.items()
    assert plan["active"] is True
    assert api.ok("GET", response.headers["Location"]) == plan
    assert api.ok("GET", "/v1/plans")["total"] == 6


@pytest.mark.parametrize("amount", ["1", "1.5", "1.50", "9999999999.99"])
def test_amounts_may_omit_decimals(api: ApiClient, amount: str) -> None:
    plan = api.ok("POST", "/v1/plans", 201, json={**PLAN, "amount": amount})
    assert plan["amount"] == f"{float(amount):.2f}"


def test_a_patch_changes_only_the_given_fields(api: ApiClient) -> None:
    before = api.ok("GET", "/v1/plans/plan_team")
    after = api.ok("PATCH", "/v1/plans/plan_team", json={"active": False, "trial_days": 0})
    assert after["updated_at"] > before["updated_at"]
    assert after == before | {
        "active": False,
        "trial_days": 0,
        "updated_at": after["updated_at"],
    }


def test_an_empty_patch_changes_nothing(api: ApiClient) -> None:
    before = api.ok("GET", "/v1/plans/plan_team")
    assert api.ok("PATCH", "/v1/plans/plan_team", json={}) == before


def test_the_price_of_a_plan_cannot_change(api: ApiClient) -> None:
    assert_problem(api.patch("/v1/plans/plan_team", json={"amount": "1"}), 422, field="amount")


def test_a_second_plan_with_the_same_name_is_a_conflict(api: ApiClient) -> None:
    assert_problem(api.post("/v1/plans", json={**PLAN, "name": "Team"}), 409, "name")
    assert_problem(api.patch("/v1/plans/plan_team", json={"name": "Starter"}), 409, "name")


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name": None}, "name", "a string"),
        ({"name": ""}, "name", "must be"),
        ({"name": " \t"}, "name", "blank"),
        ({"name": "x" * 81}, "name", "80"),
        ({"name": "x\0"}, "name", "NUL"),
        ({"amount": 12.5}, "amount", "a string"),
        ({"amount": "0.00"}, "amount", "positive"),
        ({"amount": "-1"}, "amount", "49.00"),
        ({"amount": "1.234"}, "amount", "49.00"),
        ({"amount": "12345678901"}, "amount", "49.00"),
        ({"amount": "1e3"}, "amount", "49.00"),
        ({"currency": "JPY"}, "currency", "EUR"),
        ({"billing_interval": "week"}, "billing_interval", "month, year"),
        ({"trial_days": -1}, "trial_days", ">= 0"),
        ({"trial_days": True}, "trial_days", "an integer"),
        ({"colour": "red"}, "colour", "unknown field"),
        ({"id": "plan_mine"}, "id", "unknown field"),
    ],
)
def test_an_invalid_plan_is_reported_by_its_field(
    reader: ApiClient, changes: dict[str, Any], field: str, words: str
) -> None:
    assert_problem(reader.post("/v1/plans", json=PLAN | changes), 422, words, field=field)


@pytest.mark.parametrize("field", PLAN)
def test_a_missing_field_of_a_plan_is_reported(reader: ApiClient, field: str) -> None:
    body = {name: value for name, value in PLAN.items() if name != field}
    assert_problem(reader.post("/v1/plans", json=body), 422, "required", field=field)


def test_a_subscriber_is_created_and_changed(api: ApiClient) -> None:
    address = Keypair.random().public_key
    created = api.ok(
        "POST", "/v1/subscribers", 201, json={**SUBSCRIBER, "stellar_address": address}
    )
    assert created["id"].startswith("sub_") and created["stellar_address"] == address
    path = f"/v1/subscribers/{created['id']}"
    changed = api.ok("PATCH", path, json={"company": "Analytical Engines", "country": "FR"})
    assert (changed["company"], changed["country"]) == ("Analytical Engines", "FR")
    assert api.ok("PATCH", path, json={"stellar_address": None})["stellar_address"] is None
    assert api.ok("GET", path)["email"] == SUBSCRIBER["email"]


def test_a_stellar_address_with_a_typing_error_is_rejected(reader: ApiClient) -> None:
    address = Keypair.random().public_key
    typo = address[:-1] + ("A" if address[-1] != "A" else "B")
    body = {**SUBSCRIBER, "stellar_address": typo}
    assert_problem(
        reader.post("/v1/subscribers", json=body), 422, "checksum", field="stellar_address"
    )
    secret = {**SUBSCRIBER, "stellar_address": Keypair.random().secret}
    assert_problem(reader.post("/v1/subscribers", json=secret), 422, field="stellar_address")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "ada"}, "email"),
        ({"email": "ada@example"}, "email"),
        ({"email": f"{'a' * 250}@example.com"}, "email"),
        ({"country": "Germany"}, "country"),
        ({"country": "de"}, "country"),
        ({"stellar_address": "GABC"}, "stellar_address"),
        ({"company": 7}, "company"),
    ],
)
def test_an_invalid_subscriber_is_reported_by_its_field(
    reader: ApiClient, changes: dict[str, Any], field: str
) -> None:
    assert_problem(reader.post("/v1/subscribers", json=SUBSCRIBER | changes), 422, field=field)


def test_two_subscribers_never_share_an_address(api: ApiClient) -> None:
    email = {**SUBSCRIBER, "email": "Amara.Okafor@example.com"}
    assert_problem(api.post("/v1/subscribers", json=email), 409, "email")
    stellar = api.ok("GET", "/v1/subscribers/sub_001")["stellar_address"]
    assert_problem(
        api.post("/v1/subscribers", json={**SUBSCRIBER, "stellar_address": stellar}), 409
    )


def test_changing_an_unknown_id_is_not_found(reader: ApiClient) -> None:
    assert_problem(reader.patch("/v1/plans/plan_x", json={"name": "X"}), 404, "plan_x")
    assert_problem(reader.patch("/v1/subscribers/sub_x", json={"name": "X"}), 404, "sub_x")
