"""The test clock, and what happens as time passes."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from tests.billing.conftest import BillingDatabase
from tests.billing.harness import RESOURCES, ApiClient, assert_problem
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.postgres
CLOCK = "/v1/test_clock"


def advance(api: ApiClient, by: str, **more: Any) -> dict[str, Any]:
    return api.ok("POST", CLOCK, json={"advance_by": by, **more})


def now(api: ApiClient) -> datetime:
    return datetime.fromisoformat(api.ok("GET", CLOCK)["now"])


def subscribe(api: ApiClient, test_value: str, **more: Any) -> str:
    """Freeze the clock, subscribe sub_010 to a monthly plan, and return the id."""
    api.ok("POST", CLOCK, json={"freeze": True})
    method = {"subscriber_id": "sub_010", "test_value": test_value}
    api.ok("POST", "/v1/payment_methods", 201, json=method)
    body = {"subscriber_id": "sub_010", "plan_id": "plan_business", **more}
    return str(api.ok("POST", "/v1/subscriptions", 201, json=body)["id"])


def status(api: ApiClient, subscription: str) -> str:
    return str(api.ok("GET", f"/v1/subscriptions/{subscription}")["status"])


def invoices(api: ApiClient, subscription: str) -> list[dict[str, Any]]:
    """Return the invoices of a subscription, oldest first."""
    rows = api.list_all(f"/v1/invoices?limit=100&subscription_id={subscription}")
    return sorted(rows, key=lambda row: str(row["number"]))


def test_the_api_and_the_database_share_the_clock(api: ApiClient, db: psycopg.Connection) -> None:
    frozen = api.ok("POST", CLOCK, json={"advance_by": "P1M", "freeze": True})
    [(in_sql, ahead)] = db.execute("SELECT billing.now(), billing.now() - now()").fetchall()
    assert frozen["frozen"] and datetime.fromisoformat(frozen["now"]) == in_sql
    assert timedelta(days=27) < ahead < timedelta(days=32)
    assert api.ok("GET", CLOCK)["now"] == frozen["now"]
    api.ok("PATCH", "/v1/plans/plan_team", json={"name": "Later"})
    assert api.ok("GET", "/v1/plans/plan_team")["updated_at"] == frozen["now"]
    resumed = api.ok("POST", CLOCK, json={"resume": True})
    assert not resumed["frozen"] and frozen["now"] <= resumed["now"]
    assert now(api) > datetime.fromisoformat(resumed["now"])


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"advance_to": "2020-01-01T00:00:00Z"}, "advance_to", "reset"),
        ({"advance_to": "2199-01-01T00:00:00Z"}, "advance_to", "2 years"),
        ({"advance_by": "P100Y"}, "advance_by", "2 years"),
        ({"advance_by": "1 month"}, "advance_by", "P1M"),
        ({"advance_by": "P1M", "advance_to": "2030-01-01T00:00:00Z"}, "advance_by", "either"),
        ({"freeze": True, "resume": True}, "resume", "either"),
        ({}, "advance_to", "send"),
        ({"advance": "P1M"}, "advance", "unknown"),
    ],
)
def test_an_invalid_change_of_the_clock_changes_nothing(
    api: ApiClient, body: dict[str, Any], field: str, words: str
) -> None:
    before = api.ok("POST", CLOCK, json={"freeze": True})
    assert_problem(api.post(CLOCK, json=body), 422, words, field=field)
    assert api.ok("GET", CLOCK) == before


def test_a_paid_subscription_renews_on_the_same_day_of_each_month(api: ApiClient) -> None:
    subscription = subscribe(api, "succeeds")
    advance(api, "P1Y")
    found = invoices(api, subscription)
    assert [one["status"] for one in found] == ["paid"] * 13
    assert len({one["number"] for one in found}) == 13
    start = datetime.fromisoformat(found[0]["period_start"])
    for before, after in pairwise(found):
        assert before["period_end"] == after["period_start"] == after["issued_at"]
        day = datetime.fromisoformat(after["period_start"])
        last_of_month = (day + timedelta(days=1)).day == 1
        assert day.day == start.day or (last_of_month and day.day < start.day)
    assert status(api, subscription) == "active"


def test_a_trial_ends_with_an_invoice_and_a_payment(api: ApiClient) -> None:
    subscription = subscribe(api, "succeeds", trial_days=10)
    advance(api, "P9D")
    assert status(api, subscription) == "trialing" and invoices(api, subscription) == []
    advance(api, "P1D")
    assert status(api, subscription) == "active"
    assert [one["status"] for one in invoices(api, subscription)] == ["paid"]


def test_the_draft_for_the_first_period_is_issued_when_the_trial_ends(api: ApiClient) -> None:
    advance(api, "P20D")
    assert api.ok("GET", "/v1/invoices/inv_008")["status"] == "paid"
    assert len(invoices(api, "sbn_003")) == 1


def test_dunning_follows_its_schedule_and_ends_the_subscription(api: ApiClient) -> None:
    subscription = subscribe(api, "card_declined")
    [invoice] = invoices(api, subscription)
    start = now(api)
    for day, failed in ((0, 1), (2, 1), (3, 2), (7, 2), (8, 3), (14, 3), (15, 4)):
        if day:
            target = (start + timedelta(days=day)).isoformat()
            api.ok("POST", CLOCK, json={"advance_to": target})
        payments = api.list_all(f"/v1/payments?invoice_id={invoice['id']}")
        assert [one["status"] for one in payments] == ["failed"] * failed, day
        assert all(one["automatic"] for one in payments)
        over = failed > 3
        assert status(api, subscription) == ("canceled" if over else "past_due")
    found = api.ok("GET", f"/v1/invoices/{invoice['id']}")
    assert (found["status"], found["next_attempt_at"]) == ("uncollectible", None)


@pytest.mark.parametrize(("retries", "day"), [("1_retry", 3), ("2_retries", 8), ("3_retries", 15)])
def test_a_retry_recovers_the_subscription(api: ApiClient, retries: str, day: int) -> None:
    subscription = subscribe(api, f"succeeds_after_{retries}")
    advance(api, f"P{day - 1}D")
    assert status(api, subscription) == "past_due"
    advance(api, "P1D")
    assert status(api, subscription) == "active"
    assert invoices(api, subscription)[0]["status"] == "paid"


def test_a_new_payment_method_pays_at_the_next_retry(api: ApiClient) -> None:
    subscription = subscribe(api, "lost_card")
    api.ok("POST", "/v1/payment_methods", 201, json={"subscriber_id": "sub_010"})
    advance(api, "P3D")
    assert status(api, subscription) == "active"


def test_an_invoice_without_a_payment_method_becomes_overdue(api: ApiClient) -> None:
    body = {"subscriber_id": "sub_010", "plan_id": "plan_business"}
    subscription = api.ok("POST", "/v1/subscriptions", 201, json=body)["id"]
    advance(api, "P15D")
    [invoice] = invoices(api, subscription)
    assert (invoice["status"], invoice["overdue_at"]) == ("open", invoice["due_at"])
    assert status(api, subscription) == "past_due"


def test_a_cancellation_at_the_end_of_the_period_takes_effect(api: ApiClient) -> None:
    subscription = subscribe(api, "succeeds")
    body = {"at_period_end": True}
    ending = api.ok("POST", f"/v1/subscriptions/{subscription}/cancel", json=body)
    advance(api, "P2M")
    ended = api.ok("GET", f"/v1/subscriptions/{subscription}")
    assert (ended["status"], ended["canceled_at"]) == ("canceled", ending["current_period_end"])
    assert len(invoices(api, subscription)) == 1


def test_a_paused_subscription_does_not_renew(api: ApiClient) -> None:
    subscription = subscribe(api, "succeeds")
    api.ok("POST", f"/v1/subscriptions/{subscription}/pause")
    advance(api, "P3M")
    assert len(invoices(api, subscription)) == 1


@pytest.mark.parametrize(
    ("test_value", "result"), [("settles_later", "succeeded"), ("fails_later", "failed")]
)
def test_a_payment_settles_three_days_later(api: ApiClient, test_value: str, result: str) -> None:
    subscription = subscribe(api, test_value)
    path = f"/v1/payments?invoice_id={invoices(api, subscription)[0]['id']}"
    advance(api, "P2D")
    assert [one["status"] for one in api.list_all(path)] == ["pending"]
    advance(api, "P1D")
    assert [one["status"] for one in api.list_all(path)] == [result]
    assert status(api, subscription) == ("active" if result == "succeeded" else "past_due")


def test_a_step_that_the_data_does_not_allow_is_left_out(
    api: ApiClient, db: psycopg.Connection
) -> None:
    db.execute(
        "ALTER TABLE invoices ADD CONSTRAINT mine CHECK (subscription_id <> 'sbn_002') NOT VALID"
    )
    advance(api, "P2M")
    assert len(invoices(api, "sbn_002")) == 3
    assert len(invoices(api, "sbn_001")) == 6


def test_real_time_does_what_is_due(api: ApiClient, db: psycopg.Connection) -> None:
    subscription = subscribe(api, "succeeds")
    api.ok("POST", CLOCK, json={"resume": True})
    db.execute(
        "UPDATE subscriptions SET current_period_end = billing.now() + interval '1 s',"
        " current_period_start = billing.now() - interval '1 day',"
        " started_at = now() - interval '2 days' WHERE id = %s",
        [subscription],
    )
    api.ok("PATCH", "/v1/plans/plan_team", json={"name": "A change wakes the timekeeper"})
    wait_for(lambda: len(invoices(api, subscription)) == 2, "the subscription renews", seconds=5)


def test_a_year_takes_less_than_three_seconds(api: ApiClient) -> None:
    api.ok("POST", CLOCK, json={"freeze": True})
    started = time.monotonic()
    advance(api, "P1Y")
    assert time.monotonic() - started < 3
    assert api.ok("GET", "/v1/invoices")["total"] > 60


def test_the_same_steps_after_a_reset_give_the_same_objects(
    api: ApiClient, billing_database: BillingDatabase, launched_at: datetime
) -> None:
    def run() -> dict[str, Any]:
        target = (launched_at + timedelta(days=1)).isoformat()
        api.ok("POST", CLOCK, json={"advance_to": target, "freeze": True})
        subscription = subscribe(api, "succeeds_after_2_retries")
        advance(api, "P3M")
        api.ok("POST", f"/v1/subscriptions/{subscription}/cancel")
        return {name: api.list_all(f"/v1/{name}?limit=100") for name in RESOURCES}

    first = run()
    billing_database.changed = True
    billing_database.restore()
    billing_database.changed = True
    assert run() == first
