"""The request log of a sandbox on its page and in the REST API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.urls import reverse

from sandboxes import explorer
from sandboxes.explorer import request_log
from sandboxes.models import Sandbox
from tests.fakes.sandbox_api import Reply, SandboxApi, with_api_address
from tests.helpers.api_client import ApiClient
from tests.helpers.inbox import logged_request, offer_events
from tests.helpers.scenarios import launch, reload

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


def path_of(sandbox: Sandbox) -> str:
    return f"/sandboxes/{sandbox.public_id}/requests"


def test_requests_are_listed_with_the_filters_that_the_sandbox_gets(
    sandbox: Sandbox, program: ApiClient, api: SandboxApi
) -> None:
    page = program.get(f"{path_of(sandbox)}?limit=2&status=4xx&text=a%20b").json()
    assert [one["id"] for one in page["data"]] == ["log_000000003", "log_000000002"]
    assert api.asked[-1].target == "/v1/requests?limit=2&status=4xx&text=a+b"
    rest = program.get(f"{path_of(sandbox)}?limit=2&cursor={page['next_cursor']}").json()
    assert [one["id"] for one in rest["data"]] == ["log_000000001"] and not rest["next_cursor"]
    assert program.get(f"{path_of(sandbox)}/log_000000001").json() == rest["data"][0]
    assert program.get(f"{path_of(sandbox)}/log_9").status_code == 404
    assert program.get(f"{path_of(sandbox)}/..%2Fplans").status_code == 404


def test_reading_does_not_count_as_activity_and_sends_the_key_of_the_portal(
    sandbox: Sandbox, api: SandboxApi
) -> None:
    request_log.find(sandbox, {})
    asked = api.asked[-1].headers
    assert asked["authorization"] == f"Bearer {sandbox.secrets['PORTAL_KEY']}"
    assert asked["sandbox-portal"] == "automatic"
    assert reload(sandbox).last_activity_at == sandbox.last_activity_at


def test_reads_and_repeats_share_the_limit_of_requests_that_wait(
    sandbox: Sandbox, program: ApiClient, api: SandboxApi
) -> None:
    limit, path = explorer.page_limit, path_of(sandbox)
    with limit.slot(sandbox.owner_id), limit.slot(sandbox.owner_id):
        answers = [
            program.get(path),
            program.get(f"{path}/log_000000001"),
            program.post(f"{path}/log_000000001/repeat"),
        ]
    assert [answer.status_code for answer in answers] == [503, 503, 503]


def test_a_request_is_sent_again_with_the_key_of_the_sandbox(
    sandbox: Sandbox, program: ApiClient, api: SandboxApi
) -> None:
    answer = program.post(f"{path_of(sandbox)}/log_000000001/repeat").json()
    assert answer["status"] == 201 and json.loads(answer["body"])["name"] == "Team"
    sent = api.asked[-1]
    assert (sent.method, sent.target, sent.body) == ("POST", "/v1/plans", '{"name": "Team"}')
    assert sent.headers["authorization"] == f"Bearer {sandbox.secrets['API_KEY']}"
    assert program.post(f"{path_of(sandbox)}/log_000000003/repeat").status_code == 409
    assert api.asked[-1].target == "/v1/requests/log_000000003"


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "200"},
        {"created_at": "2026-11-29"},
        {"id": "../plans"},
        {"method": "TRACE", "path": "//evil.example/"},
        {"request_body": "x" * 20_000},
    ],
)
def test_an_entry_that_does_not_fit_is_left_out_or_not_sent(
    changes: dict[str, Any], sandbox: Sandbox, program: ApiClient, api: SandboxApi
) -> None:
    entry = logged_request(1, "POST", "/v1/plans", 201) | changes
    api.replies["/v1/requests"] = Reply(200, json.dumps({"data": [entry, None]}).encode())
    found = program.get(path_of(sandbox)).json()["data"]
    assert all(not one["replayable"] for one in found)


def test_a_refused_filter_is_reported(
    sandbox: Sandbox, program: ApiClient, api: SandboxApi, client: Client
) -> None:
    refusal = {"errors": [{"field": "status", "message": "must be a status"}]}
    api.replies["/v1/requests"] = Reply(422, json.dumps(refusal).encode())
    answer = program.get(f"{path_of(sandbox)}?status=9")
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "status"
    assert sandbox.owner
    client.force_login(sandbox.owner)
    page = client.get(reverse("requests", args=[sandbox.public_id])).content.decode()
    assert "status: must be a status" in page


def test_the_page_shows_and_sends_requests_without_javascript(
    sandbox: Sandbox, client: Client, bob: User
) -> None:
    assert sandbox.owner
    client.force_login(sandbox.owner)
    address = reverse("requests", args=[sandbox.public_id])
    page = client.get(f"{address}?method=POST").content.decode()
    assert "/v1/plans/plan_x" in page and "cut&quot;: &quot;her" in page
    again = reverse("repeat-request", args=[sandbox.public_id, "log_000000001"])
    assert "201 Created" in client.post(again).content.decode()
    client.force_login(bob)
    assert client.get(address).status_code == 404
