"""Events, webhook endpoints and deliveries."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.billing.conftest import Connect
from tests.billing.harness import ApiClient, assert_problem

pytestmark = pytest.mark.postgres
START = "evt_000000000"


def events_after(api: ApiClient, after: str, **query: Any) -> list[dict[str, Any]]:
    params = {"after": after, "limit": "100", **query}
    found: list[dict[str, Any]] = api.ok("GET", "/v1/events", params=params)["data"]
    return found


def new_types(api: ApiClient) -> list[str]:
    """Return the types of the events after the seed."""
    return [event["type"] for event in events_after(api, "evt_000000001")]


def test_a_change_is_an_event_with_the_object_and_its_old_values(api: ApiClient) -> None:
    plan = api.ok("PATCH", "/v1/plans/plan_team", json={"name": "Crew"})
    [event] = events_after(api, "evt_000000001")
    assert (event["id"], event["type"]) == ("evt_000000002", "plan.updated")
    assert event["object_id"] == "plan_team" and event["created_at"] == plan["updated_at"]
    assert event["previous"] == {"name": "Team"}
    times = ("created_at", "updated_at")
    assert {k: v for k, v in event["data"].items() if k not in times} == {
        k: v for k, v in plan.items() if k not in times
    }


def test_sql_of_the_developer_is_an_event_too(api: ApiClient, db: psycopg.Connection) -> None:
    db.execute("UPDATE subscribers SET company = 'Acme' WHERE id = 'sub_001'")
    db.execute("UPDATE subscribers SET company = 'Acme' WHERE id = 'sub_001'")
    assert new_types(api) == ["subscriber.updated"], "the second statement changed nothing"


def test_the_life_of_a_subscription_is_told_in_order(api: ApiClient) -> None:
    api.ok("POST", "/v1/test_clock", json={"freeze": True})
    method = {"subscriber_id": "sub_010", "test_value": "succeeds_after_1_retry"}
    api.ok("POST", "/v1/payment_methods", 201, json=method)
    body = {"subscriber_id": "sub_010", "plan_id": "plan_business"}
    subscription = api.ok("POST", "/v1/subscriptions", 201, json=body)["id"]
    [invoice] = api.list_all(f"/v1/invoices?subscription_id={subscription}")
    api.ok("POST", "/v1/test_clock", json={"advance_by": "P3D"})
    api.ok("POST", f"/v1/subscriptions/{subscription}/cancel")

    assert new_types(api) == [
        "payment_method.attached",
        "subscription.created",
        "invoice.created",
        "invoice.finalized",
        "payment.created",
        "payment.failed",
        "invoice.payment_failed",
        "subscription.past_due",
        "payment.created",
        "payment.succeeded",
        "invoice.paid",
        "subscription.recovered",
        "test_clock.advanced",
        "subscription.canceled",
    ]
    about = api.list_all(f"/v1/events?object_id={invoice['id']}&type=invoice.paid")
    assert [event["data"]["status"] for event in about] == ["paid"]


def test_a_reader_waits_for_older_transactions(
    api: ApiClient, db: psycopg.Connection, connect: Connect
) -> None:
    older = connect(autocommit=False)
    older.execute("UPDATE plans SET name = 'Older' WHERE id = 'plan_team'")
    db.execute("UPDATE plans SET name = 'Newer' WHERE id = 'plan_starter'")
    assert new_types(api) == []
    older.commit()
    names = [event["data"]["name"] for event in events_after(api, "evt_000000001")]
    assert names == ["Older", "Newer"]


def test_events_are_read_in_pages(api: ApiClient) -> None:
    for number in range(5):
        api.ok("PATCH", "/v1/plans/plan_team", json={"name": f"Team {number}"})
    after, names = START, []
    while page := events_after(api, after, limit="2"):
        after = page[-1]["id"]
        names += [event["data"]["name"] for event in page]
    assert names == ["Tomás Herrera", *(f"Team {number}" for number in range(5))]


def test_a_request_waits_for_the_next_event(api: ApiClient, db: psycopg.Connection) -> None:
    changes = (
        lambda: api.ok("PATCH", "/v1/plans/plan_team", json={"name": "Crew"}),
        lambda: db.execute("UPDATE plans SET name = 'Band' WHERE id = 'plan_team'"),
    )
    for number, (change, seconds) in enumerate(zip(changes, (0.3, 1.5), strict=True), 1):
        with ThreadPoolExecutor(1) as other:
            waiting = other.submit(events_after, api, f"evt_{number:09}", wait="20")
            time.sleep(0.1)
            changed_at = time.monotonic()
            change()
            [event] = waiting.result()
        assert event["type"] == "plan.updated"
        assert time.monotonic() - changed_at < seconds
    assert events_after(api, "evt_000000003", wait="1") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("wait=1", "wait"),
        ("after=evt_000000001&wait=26", "wait"),
        ("after=evt_000000001&wait=1.0", "wait"),
        ("after=evt_000000999", "after"),
        ("after=last", "after"),
        ("after=evt_000000001&type=plan.updated", "type"),
        ("type=plan.changed", "type"),
    ],
)
def test_an_invalid_query_is_reported(reader: ApiClient, query: str, field: str) -> None:
    assert_problem(reader.get(f"/v1/events?{query}"), 422, field=field)


def test_an_event_can_be_recorded_on_demand(api: ApiClient) -> None:
    body = {"type": "invoice.overdue", "object_id": "inv_001"}
    event = api.ok("POST", "/v1/events", 201, json=body)
    assert event["data"]["amount"] == "49.00" and new_types(api) == ["invoice.overdue"]
    body = {"type": "invoice.overdue", "object_id": "sub_001"}
    assert_problem(api.post("/v1/events", json=body), 422, field="object_id")
    body = {"type": "test_clock.advanced", "object_id": "inv_001"}
    assert_problem(api.post("/v1/events", json=body), 422, field="type")


def test_an_endpoint_has_a_secret_that_a_reset_does_not_change(api: ApiClient) -> None:
    body = {"url": "https://example.com/x", "event_types": ["invoice.*", "plan.updated"]}
    endpoint = api.ok("POST", "/v1/webhook_endpoints", 201, json=body)
    assert endpoint["secret"].startswith("whsec_") and endpoint["status"] == "enabled"
    path = f"/v1/webhook_endpoints/{endpoint['id']}"
    assert api.ok("GET", path) == endpoint
    assert api.ok("PATCH", path, json={"status": "disabled"})["secret"] == endpoint["secret"]
    assert api.ok("DELETE", path)["id"] == endpoint["id"]
    assert_problem(api.get(path), 404)


def test_a_rotated_secret_stays_valid_for_a_time(api: ApiClient) -> None:
    before = api.ok("GET", "/v1/webhook_endpoints/whe_001")
    after = api.ok("POST", "/v1/webhook_endpoints/whe_001/rotate", json={"keep_hours": 2})
    assert after["secret"] != before["secret"] == after["previous_secret"]
    assert after["previous_secret_until"] > after["updated_at"]
    again = api.ok("POST", "/v1/webhook_endpoints/whe_001/rotate", json={"keep_hours": 0})
    assert again["previous_secret"] is None and again["secret"] != after["secret"]
    same = {"secret": again["secret"]}
    refused = api.post("/v1/webhook_endpoints/whe_001/rotate", json=same)
    assert_problem(refused, 422, "another", field="secret")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "https://example.com", "event_types": ["invoice.payed"]}, "event_types"),
        ({"url": "https://example.com", "event_types": ["bill.*"]}, "event_types"),
        ({"url": "https://example.com", "event_types": []}, "event_types"),
        ({"url": "https://example.com", "secret": "hunter2"}, "secret"),
    ],
)
def test_an_invalid_endpoint_is_reported(
    reader: ApiClient, body: dict[str, Any], field: str
) -> None:
    assert_problem(reader.post("/v1/webhook_endpoints", json=body), 422, field=field)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"response_status": 204}, "succeeded"),
        ({"response_status": 302}, "failed"),
        ({"error": "timed out"}, "failed"),
    ],
)
def test_attempts_of_deliveries_are_recorded(
    api: ApiClient, answer: dict[str, Any], status: str
) -> None:
    body = {"endpoint_id": "whe_001", "event_id": "evt_000000001", "attempt": 2, **answer}
    delivery = api.ok("POST", "/v1/webhook_deliveries", 201, json=body)
    assert delivery["status"] == status
    found = api.list_all("/v1/webhook_deliveries?endpoint_id=whe_001")
    assert [one["id"] for one in found] == [delivery["id"], "whd_001"]
    body["event_id"] = "evt_000000099"
    assert_problem(api.post("/v1/webhook_deliveries", json=body), 422, field="event_id")
