"""Subscriptions: create, pause, resume and cancel."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.billing.harness import ApiClient, assert_problem

pytestmark = pytest.mark.postgres


def subscribe(
    api: ApiClient, plan: str, subscriber: str = "sub_010", **more: Any
) -> dict[str, Any]:
    body = {"subscriber_id": subscriber, "plan_id": plan, **more}
    return api.ok("POST", "/v1/subscriptions", 201, json=body)


def invoices_of(api: ApiClient, subscription: dict[str, Any]) -> list[dict[str, Any]]:
    return api.list_all(f"/v1/invoices?subscription_id={subscription['id']}")


def act(api: ApiClient, subscription: str, action: str, **options: Any) -> dict[str, Any]:
    return api.ok("POST", f"/v1/subscriptions/{subscription}/{action}", **options)


def test_subscribing_issues_an_invoice_for_the_first_period(api: ApiClient) -> None:
    subscription = subscribe(api, "plan_business")
    assert (subscription["status"], subscription["trial_end"]) == ("active", None)
    assert subscription["started_at"] == subscription["current_period_start"]
    start, end = map(
        datetime.fromisoformat,
        (subscription["current_period_start"], subscription["current_period_end"]),
    )
    assert timedelta(days=28) <= end - start <= timedelta(days=31)
    (invoice,) = invoices_of(api, subscription)
    assert (invoice["status"], invoice["amount"], invoice["currency"]) == ("open", "199.00", "EUR")
    assert invoice["period_start"] == subscription["current_period_start"]
    assert invoice["period_end"] == subscription["current_period_end"]
    assert invoice["number"] == "INV-1021"
    due = datetime.fromisoformat(invoice["due_at"]) - datetime.fromisoformat(invoice["issued_at"])
    assert due == timedelta(days=14)


def test_a_yearly_plan_is_billed_for_a_year(api: ApiClient) -> None:
    subscription = subscribe(api, "plan_team_yearly")
    start = datetime.fromisoformat(subscription["current_period_start"])
    days = (datetime.fromisoformat(subscription["current_period_end"]) - start).days
    assert days in (365, 366)


def test_a_plan_with_a_trial_creates_no_invoice(api: ApiClient) -> None:
    subscription = subscribe(api, "plan_starter")
    assert subscription["status"] == "trialing"
    assert subscription["trial_end"] == subscription["current_period_end"]
    length = datetime.fromisoformat(subscription["trial_end"]) - datetime.fromisoformat(
        subscription["started_at"]
    )
    assert length == timedelta(days=14)
    assert invoices_of(api, subscription) == []


def test_the_trial_can_be_chosen(api: ApiClient) -> None:
    assert subscribe(api, "plan_starter", trial_days=0)["status"] == "active"
    assert subscribe(api, "plan_business", trial_days=3)["status"] == "trialing"


def test_a_second_live_subscription_to_a_plan_is_a_conflict(api: ApiClient) -> None:
    subscription = subscribe(api, "plan_business")
    again = {"subscriber_id": "sub_010", "plan_id": "plan_business"}
    assert_problem(api.post("/v1/subscriptions", json=again), 409, "already")
    act(api, subscription["id"], "cancel")
    subscribe(api, "plan_business")


def test_an_inactive_plan_accepts_no_subscriptions(api: ApiClient) -> None:
    body = {"subscriber_id": "sub_010", "plan_id": "plan_classic"}
    assert_problem(api.post("/v1/subscriptions", json=body), 409, "plan_classic")
    assert_problem(
        api.patch("/v1/subscriptions/sbn_001", json={"plan_id": "plan_classic"}),
        409,
        "plan_classic",
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"subscriber_id": "sub_x", "plan_id": "plan_team"}, "subscriber_id"),
        ({"subscriber_id": "sub_010", "plan_id": "plan_x"}, "plan_id"),
        ({"subscriber_id": "sub_010"}, "plan_id"),
        ({"subscriber_id": "sub_010", "plan_id": "plan_team", "trial_days": 366}, "trial_days"),
        ({"subscriber_id": "sub_010", "plan_id": "plan_team", "status": "active"}, "status"),
    ],
)
def test_an_invalid_subscription_is_reported_by_its_field(
    reader: ApiClient, body: dict[str, Any], field: str
) -> None:
    assert_problem(reader.post("/v1/subscriptions", json=body), 422, field=field)


def test_pausing_and_resuming_keep_the_period(api: ApiClient) -> None:
    before = api.ok("GET", "/v1/subscriptions/sbn_001")
    paused = act(api, "sbn_001", "pause")
    assert paused["status"] == "paused" and paused["paused_at"]
    resumed = act(api, "sbn_001", "resume")
    assert (resumed["status"], resumed["paused_at"]) == ("active", None)
    assert resumed["current_period_end"] == before["current_period_end"]


def test_a_paused_trial_can_be_resumed(api: ApiClient) -> None:
    act(api, "sbn_003", "pause")
    assert act(api, "sbn_003", "resume")["status"] == "trialing"


def test_resuming_after_the_period_starts_a_new_one_with_an_invoice(
    api: ApiClient, db: psycopg.Connection
) -> None:
    db.execute(
        "UPDATE subscriptions SET started_at = now() - interval '3 months',"
        " current_period_start = now() - interval '2 months',"
        " current_period_end = now() - interval '1 month' WHERE id = 'sbn_006'"
    )
    resumed = act(api, "sbn_006", "resume")
    newest = invoices_of(api, resumed)[0]
    assert (resumed["status"], newest["status"], newest["amount"]) == ("active", "open", "12.00")
    assert newest["period_start"] == resumed["current_period_start"]


@pytest.mark.parametrize(
    ("subscription", "action"),
    [
        ("sbn_006", "pause"),
        ("sbn_004", "pause"),
        ("sbn_008", "pause"),
        ("sbn_001", "resume"),
        ("sbn_008", "resume"),
        ("sbn_008", "cancel"),
    ],
)
def test_an_action_that_the_status_does_not_allow_is_a_conflict(
    reader: ApiClient, subscription: str, action: str
) -> None:
    status = reader.ok("GET", f"/v1/subscriptions/{subscription}")["status"]
    assert_problem(reader.post(f"/v1/subscriptions/{subscription}/{action}"), 409, status)


def test_cancelling_takes_effect_immediately_and_voids_only_drafts(api: ApiClient) -> None:
    canceled = act(api, "sbn_003", "cancel")
    assert canceled["status"] == "canceled" and canceled["canceled_at"]
    assert api.ok("GET", "/v1/invoices/inv_008")["status"] == "void"
    act(api, "sbn_004", "cancel")
    assert api.ok("GET", "/v1/invoices/inv_011")["status"] == "open"


def test_a_paused_subscription_can_be_cancelled(api: ApiClient) -> None:
    canceled = act(api, "sbn_006", "cancel")
    assert (canceled["status"], canceled["paused_at"]) == ("canceled", None)


def test_cancelling_at_the_end_of_the_period_can_be_undone(api: ApiClient) -> None:
    ending = act(api, "sbn_001", "cancel", json={"at_period_end": True})
    assert (ending["status"], ending["cancel_at_period_end"]) == ("active", True)
    path = "/v1/subscriptions/sbn_001"
    staying = api.ok("PATCH", path, json={"cancel_at_period_end": False})
    assert staying["cancel_at_period_end"] is False


def test_the_plan_can_be_changed_until_it_is_cancelled(api: ApiClient) -> None:
    path = "/v1/subscriptions/sbn_001"
    assert api.ok("PATCH", path, json={"plan_id": "plan_starter"})["plan_id"] == "plan_starter"
    assert_problem(api.patch(path, json={"plan_id": "plan_x"}), 422, field="plan_id")
    assert_problem(
        api.patch("/v1/subscriptions/sbn_008", json={"plan_id": "plan_starter"}), 409, "canceled"
    )


@pytest.mark.parametrize("action", ["pause", "resume", "cancel"])
def test_an_action_on_an_unknown_subscription_is_not_found(reader: ApiClient, action: str) -> None:
    assert_problem(reader.post(f"/v1/subscriptions/sbn_x/{action}"), 404, "sbn_x")


def test_an_action_without_a_body_rejects_one(reader: ApiClient) -> None:
    response = reader.post("/v1/subscriptions/sbn_001/pause", json={"until": "tomorrow"})
    assert_problem(response, 422, "no body")
    response = reader.post("/v1/subscriptions/sbn_001/cancel", json={"at_period_ent": True})
    assert_problem(response, 422, field="at_period_ent")
