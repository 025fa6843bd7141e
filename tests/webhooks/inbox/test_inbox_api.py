"""The inbox, endpoints and clock of a sandbox in the REST API and on its page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.urls import reverse

from sandboxes.models import Sandbox
from tests.fakes.sandbox_api import Reply, SandboxApi, with_api_address
from tests.helpers.api_client import ApiClient
from tests.helpers.inbox import offer_events, receive
from tests.helpers.scenarios import launch, run_on_commit

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.fixture
def sandbox(alice: User, api: SandboxApi) -> Sandbox:
    offer_events(api)
    return with_api_address(launch(alice), api.address)


@pytest.fixture
def program(alice: User) -> ApiClient:
    return ApiClient(alice)


def test_events_are_read_in_order_after_a_cursor(sandbox: Sandbox, program: ApiClient) -> None:
    path = f"/sandboxes/{sandbox.public_id}/inbox"
    receive(sandbox, "invoice.paid", "plan.created", "invoice.voided")
    first = program.get(f"{path}?limit=2").json()
    ids = [one["event_id"] for one in first["data"]]
    assert ids == ["evt_000000001", "evt_000000002"] and first["has_more"]
    [delivery] = first["data"][0]["deliveries"]
    assert delivery["outcome"] == "delivered" and delivery["tries"][0]["headers"]["webhook-id"]
    second = program.get(f"{path}?after={first['cursor']}").json()
    assert [one["event_id"] for one in second["data"]] == ["evt_000000003"]
    last = program.get(f"{path}?after={second['cursor']}").json()
    assert last == {"data": [], "has_more": False, "cursor": second["cursor"]}
    typed = program.get(f"{path}?type=plan.created").json()["data"]
    assert [one["type"] for one in typed] == ["plan.created"]
    assert program.get(f"{path}?after=forged").status_code == 422


def test_a_replay_keeps_the_id_of_the_message(sandbox: Sandbox, program: ApiClient) -> None:
    receive(sandbox, "invoice.paid")
    path = f"/sandboxes/{sandbox.public_id}/inbox"
    [event] = program.get(path).json()["data"]
    with run_on_commit():
        answer = program.post(f"{path}/{event['id']}/replay")
    assert (answer.status_code, answer.json()) == (202, {"deliveries": 1})
    [again] = program.get(path).json()["data"]
    ids = {one["tries"][0]["headers"]["webhook-id"] for one in again["deliveries"]}
    assert len(again["deliveries"]) == 2 and ids == {event["id"]}


def test_an_event_is_recorded_on_demand(
    sandbox: Sandbox, program: ApiClient, api: SandboxApi
) -> None:
    path, body = f"/sandboxes/{sandbox.public_id}/inbox", {"type": "a.b", "object_id": "inv_1"}
    api.replies["/v1/events"] = Reply(201, b'{"id": "evt_9"}')
    assert program.post(path, body).json() == {"event_id": "evt_9"}
    refusal = {"detail": "x", "errors": [{"field": "object_id", "message": "no such invoice"}]}
    api.replies["/v1/events"] = Reply(422, json.dumps(refusal).encode())
    answer = program.post(path, body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["message"] == "no such invoice"


@pytest.mark.parametrize(
    ("changes", "status"), [({"duplicates": 20, "delay_seconds": 3}, 200), ({"disorder": 101}, 422)]
)
def test_an_endpoint_misbehaves_as_chosen(
    changes: dict[str, int], status: int, sandbox: Sandbox, program: ApiClient
) -> None:
    receive(sandbox, "invoice.paid")
    path = f"/sandboxes/{sandbox.public_id}/event-endpoints"
    assert program.patch(f"{path}/whe_001", changes).status_code == status
    [endpoint] = program.get(path).json()["data"]
    chosen = {name: value for name, value in endpoint["misbehavior"].items() if value}
    assert chosen == (changes if status == 200 else {})


def test_the_clock_is_read_and_changed(
    sandbox: Sandbox, program: ApiClient, api: SandboxApi
) -> None:
    path = f"/sandboxes/{sandbox.public_id}/clock"
    found: dict[str, Any] = program.get(path).json()
    assert not found["frozen"] and found["next"][0]["object_id"] == "sbn_001"
    assert program.post(path, {}).status_code == 422
    assert program.post(path, {"advance_by": "P1M"}).status_code == 200
    assert json.loads(api.asked[-1].body) == {"advance_by": "P1M"}
    refusal = {"errors": [{"field": "advance_by", "message": "must be at most P5Y"}]}
    api.replies["/v1/test_clock"] = Reply(422, json.dumps(refusal).encode())
    assert "at most P5Y" in program.post(path, {"advance_by": "P9Y"}).content.decode()


def test_the_page_is_refreshed_only_by_changes(sandbox: Sandbox, client: Client) -> None:
    assert sandbox.owner
    client.force_login(sandbox.owner)
    receive(sandbox, "invoice.paid")
    page = client.get(reverse("inbox", args=[sandbox.public_id]))
    etag, address = page.context["etag"], reverse("inbox-events", args=[sandbox.public_id])
    assert client.get(f"{address}?etag={etag}").status_code == 204
    receive(sandbox, "plan.created")
    assert "plan.created" in client.get(f"{address}?etag={etag}").content.decode()
