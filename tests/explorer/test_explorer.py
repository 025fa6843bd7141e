"""The pages of the API explorer."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.explorer import client as explorer_client
from sandboxes.models import Sandbox
from tests.fakes.sandbox_api import Reply, SandboxApi, with_api_address
from tests.harness.ports import reserve_port
from tests.helpers.scenarios import event_kinds, launch, run_on_commit
from tests.helpers.web import HTMX, text

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpResponse

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

OURS = ["explorer", "explorer-send", "download-env", "download-postman", "download-openapi"]
DATA = {**HTMX, "HX-Target": "data"}


@pytest.fixture
def sandbox(alice: User, api: SandboxApi) -> Sandbox:
    return with_api_address(launch(alice, name="checkout"), api.address)


def address(sandbox: Sandbox, name: str = "explorer") -> str:
    return reverse(name, args=[sandbox.public_id])


def send(web: Client, sandbox: Sandbox, operation: str, **filled: Any) -> HttpResponse:
    """Submit the form of an operation with htmx; `id` is the path parameter."""
    if "id" in filled:
        filled["path.id"] = filled.pop("id")
    data = {"operation": operation, **filled}
    return web.post(address(sandbox, "explorer-send"), data, headers=HTMX)


def test_the_explorer_opens_with_a_request_and_data(
    web: Client, sandbox: Sandbox, api: SandboxApi
) -> None:
    page = web.get(address(sandbox))
    read = text(page)
    assert all(name in read for name in ("Plans", "Subscribers", "Payments", "Create a plan"))
    assert "Plan 0" in read and "10 of 12" in read
    assert f"http://{api.address}" in read
    assert api.targets == ["GET /v1/plans?limit=10"]
    assert page["Cache-Control"] == "no-store"


def test_the_page_does_not_contain_the_key(web: Client, sandbox: Sandbox) -> None:
    key = sandbox.secrets["API_KEY"]
    answers = [
        web.get(address(sandbox)),
        send(web, sandbox, "listPlans"),
        web.post(address(sandbox, "explorer-send"), {"operation": "listPlans"}),
    ]
    assert all(key not in response.content.decode() for response in answers)
    assert "credentials_read" not in event_kinds(sandbox)


def test_going_back_to_a_sent_request_opens_the_explorer_and_sends_nothing(
    web: Client, sandbox: Sandbox, api: SandboxApi
) -> None:
    response = web.get(address(sandbox, "explorer-send"))
    assert (response.status_code, response["Location"]) == (302, address(sandbox))
    assert api.targets == []


def test_a_request_is_sent_and_its_response_shown(
    web: Client, sandbox: Sandbox, api: SandboxApi
) -> None:
    response = send(web, sandbox, "listPlans", **{"query.limit": "2", "query.active": "true"})
    shown = text(response)
    assert api.targets == ["GET /v1/plans?limit=2&active=true"]
    assert "200 OK" in shown and re.search(r"\d+ ms", shown)
    assert "&quot;name&quot; : &quot;Plan 1&quot;" in shown
    assert "content-type application/json" in shown
    assert "curl &#x27;" in response.content.decode() and "Bearer $API_KEY" in shown


def test_a_change_refreshes_the_data(web: Client, sandbox: Sandbox, api: SandboxApi) -> None:
    body = '{\r\n  "name": "Größer"\r\n}'
    response = send(web, sandbox, "createPlan", body=body)
    assert api.asked[1].body == '{\n  "name": "Größer"\n}'
    assert "201 Created" in text(response)
    assert 'hx-swap-oob="true"' in response.content.decode()
    assert "10 of 13" in text(response)
    looked = send(web, sandbox, "getPlan", id="plan_1")
    assert "hx-swap-oob" not in looked.content.decode()


def test_an_error_response_is_shown(web: Client, sandbox: Sandbox) -> None:
    shown = text(send(web, sandbox, "getPlan", id="nothing"))
    assert "404 Not Found" in shown
    assert "10 of 12" not in shown


def test_the_form_shows_examples_and_keeps_input(web: Client, sandbox: Sandbox) -> None:
    page = web.get(address(sandbox), {"operation": "updatePlan"}).content.decode()
    assert 'value="plan_team"' in page
    assert "Team plus" in page
    filled = {"operation": "updatePlan", "path.id": "plan_3", "body": '{"name": "Mine"}'}
    page = web.post(address(sandbox, "explorer-send"), filled).content.decode()
    assert 'value="plan_3"' in page
    assert "{&quot;name&quot;: &quot;Mine&quot;}" in page


def test_a_missing_path_parameter_is_rejected(
    web: Client, sandbox: Sandbox, api: SandboxApi
) -> None:
    for value in ("", ".."):
        assert "id: Required" in text(send(web, sandbox, "getPlan", id=value))
    assert api.targets == []


def test_responses_are_always_shown_as_text(web: Client, sandbox: Sandbox, api: SandboxApi) -> None:
    evil = b"<script>alert(1)</script>"
    headers = {"Content-Type": "text/html", "X-Evil": "<b>", "Refresh": "0;url=//evil.example"}
    api.replies["/v1/plans"] = Reply(body=evil, headers=headers)
    response = send(web, sandbox, "listPlans")
    assert evil.decode() not in response.content.decode()
    assert "&lt;script&gt;alert(1)" in response.content.decode()
    assert "x-evil &lt;b&gt;" in text(response)
    assert "Refresh" not in response


def test_descriptions_are_escaped(web: Client, sandbox: Sandbox, api: SandboxApi) -> None:
    evil = "<img src=x onerror=alert(1)>"
    operation = {"summary": evil, "description": f"`{evil}`", "operationId": f'"{evil}'}
    api.document = {"openapi": "3.1.0", "paths": {f"/{evil}": {"get": operation}}}
    page = web.get(address(sandbox)).content.decode()
    assert evil not in page
    assert "&lt;img src=x" in page


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "\\ud800"}',
        b'{"a":' * 5000,
        b'{"a":' * 200 + b"1" + b"}" * 200,
        b'"' + b'\\"' * 30_000,
        b"\xff\xfe",
        b"9" * 10_000,
        b"",
    ],
)
def test_unusual_responses_are_shown(
    web: Client, sandbox: Sandbox, api: SandboxApi, body: bytes
) -> None:
    api.replies["/v1/plans"] = Reply(body=body)
    assert "200 OK" in text(send(web, sandbox, "listPlans"))
    assert web.get(address(sandbox), {"table": "listPlans"}).status_code == 200


def test_unusual_items_are_shown_in_a_table(web: Client, sandbox: Sandbox, api: SandboxApi) -> None:
    odd = {"id": None, "name": {"a": ["<b>"]}, "amount": "9" * 5000, "created_at": "2026-99-99"}
    things = [odd, {}, 3, {"id": "\ud800/?&", "created_at": "2026-99-99T99:99:99Z"}]
    api.replies["/v1/plans"] = Reply(body=json.dumps({"data": things, "total": "x"}).encode())
    page = web.get(address(sandbox), {"table": "listPlans"}).content.decode()
    assert "&lt;b&gt;" in page and "<b>" not in page
    assert "9" * 100 not in page.partition("<dialog")[0]


@pytest.mark.parametrize(
    "value",
    [
        "0001-01-01T00:00:00+14:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-14:00",
        "9999-12-31T23:59:59.999999Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00+99:99",
        "\u0662\u0660\u0662\u0666-01-01T00:00:00Z",
        "\0",
        "\ud800",
        "x" * 500_000,
        '"' + '\\"' * 100_000,
        True,
        1e308,
        10**4000,
        {"id": {"id": [None]}},
        [[[]]] * 1000,
    ],
)
def test_any_value_can_be_in_any_place_of_a_table(
    web: Client, sandbox: Sandbox, api: SandboxApi, value: Any
) -> None:
    columns = ("id", "name", "amount", "created_at", "trial_days", "active", "updated_at")
    page = {"data": [dict.fromkeys(columns, value)], "total": value, "next_cursor": value}
    api.replies["/v1/plans"] = Reply(body=json.dumps(page).encode())
    began = time.process_time()
    for asked in ({"table": "list_plans"}, {"row": ascii(value)[:100]}):
        response = web.get(address(sandbox), asked)
        assert response.status_code == 200
        assert len(response.content) < 2_000_000
    assert time.process_time() - began < 5


def test_large_and_binary_responses_are_truncated(
    web: Client, sandbox: Sandbox, api: SandboxApi
) -> None:
    api.replies["/v1/plans"] = Reply(body=b"x" * (2 * explorer_client.MAX_RESPONSE_BYTES))
    response = send(web, sandbox, "listPlans")
    assert "Response truncated." in text(response)
    assert len(response.content) < 500_000
    api.replies["/v1/plans"] = Reply(body=b"\x89PNG\0", headers={"Content-Type": "image/png"})
    assert "5 bytes of image/png" in text(send(web, sandbox, "listPlans"))


def test_viewing_the_command_with_the_key_is_recorded(
    web: Client, sandbox: Sandbox, api: SandboxApi
) -> None:
    filled = {"body": '{"name": "It\'s"}', "as": "curl"}
    shown = send(web, sandbox, "createPlan", **filled).content.decode()
    assert f"Bearer {sandbox.secrets['API_KEY']}" in shown
    assert api.targets == []
    assert event_kinds(sandbox).count("credentials_read") == 1


def test_the_command_has_the_header_that_the_gateway_requires(
    web: Client, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = "Portal-Token: YOUR_API_TOKEN"
    assert (
        header not in send(web, sandbox, "createPlan", body="{}", **{"as": "curl"}).content.decode()
    )
    monkeypatch.setattr("sandboxes.gateway.names.is_owner_only", lambda _: True)
    assert header in send(web, sandbox, "createPlan", body="{}", **{"as": "curl"}).content.decode()


def test_tables_are_paginated_by_cursor(web: Client, sandbox: Sandbox) -> None:
    first = web.get(address(sandbox), {"table": "listPlans"}, headers=DATA).content.decode()
    (following,) = re.findall(r'hx-get="([^"]*cursor=10)"', first)
    rest = web.get(following.replace("&amp;", "&"), headers=DATA)
    assert "plan_11" in text(rest) and "2 of 12" in text(rest)
    assert "Newest" in text(rest) and "Older" not in text(rest)


def test_a_row_opens_as_json_without_javascript(web: Client, sandbox: Sandbox) -> None:
    page = web.get(address(sandbox), {"table": "listPlans", "row": "plan_3"})
    assert "<h3>plan_3</h3>" in page.content.decode()


def test_empty_and_broken_lists_are_reported(
    web: Client, sandbox: Sandbox, api: SandboxApi
) -> None:
    assert "No rows." in text(web.get(address(sandbox), {"table": "listPayments"}))
    api.replies["/v1/payments"] = Reply(503)
    assert "returned 503" in text(web.get(address(sandbox), {"table": "listPayments"}))
    for body in (b"[]", b"no json", b'{"data": 3}'):
        api.replies["/v1/payments"] = Reply(body=body)
        assert "did not return a list" in text(web.get(address(sandbox), {"table": "listPayments"}))


def test_htmx_fetches_only_the_operation(web: Client, sandbox: Sandbox, api: SandboxApi) -> None:
    part = {**HTMX, "HX-Target": "requests"}
    response = web.get(address(sandbox), {"operation": "payInvoice"}, headers=part)
    assert "<html" not in response.content.decode()
    assert "Pay an invoice" in text(response)
    assert api.targets == []
    restored = {**part, "HX-History-Restore-Request": "true"}
    assert "<html" in web.get(address(sandbox), headers=restored).content.decode()


@pytest.mark.parametrize("name", OURS)
def test_other_users_cannot_open_the_explorer(
    client: Client, sandbox: Sandbox, api: SandboxApi, bob: User, olga: User, name: str
) -> None:
    for visitor in (None, bob, olga):
        client.logout()
        if visitor:
            client.force_login(visitor)
        for method in (client.get, client.post):
            response = method(address(sandbox, name), {"operation": "listPlans"})
            if visitor is None:
                assert response.status_code == 302 and "/login/" in response["Location"]
            else:
                assert response.status_code in (404, 405)
    assert api.asked == []


def test_requests_need_a_csrf_token(alice: User, sandbox: Sandbox, api: SandboxApi) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    for name in ("explorer-send", "download-env", "download-postman"):
        data = {"operation": "createPlan", "body": "{}"}
        assert strict.post(address(sandbox, name), data).status_code == 403
    assert api.asked == []


@pytest.mark.parametrize("name", ["download-env", "download-postman"])
def test_downloads_with_keys_require_post(web: Client, sandbox: Sandbox, name: str) -> None:
    assert web.get(address(sandbox, name)).status_code == 405


def test_an_ended_or_hanging_sandbox_is_reported(
    web: Client, alice: User, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer_client, "TIMEOUT_SECONDS", 0.3)
    lost = with_api_address(sandbox, f"127.0.0.1:{reserve_port()}")
    for response in (web.get(address(lost)), send(web, lost, "listPlans")):
        assert response.status_code == 200
        assert "The portal can&#x27;t reach the sandbox" in text(response)
    with run_on_commit():
        actions.destroy(sandbox, alice)
    for response in (web.get(address(sandbox)), send(web, sandbox, "listPlans")):
        assert "Only a running sandbox responds" in text(response)
    whole = web.post(address(sandbox, "explorer-send"), {"operation": "listPlans"})
    assert "Only a running sandbox responds" in text(whole)


def test_a_blueprint_without_openapi_has_no_explorer(
    web: Client, sandbox: Sandbox, api: SandboxApi
) -> None:
    assert "Try the API" in text(web.get("/"))
    Sandbox.objects.filter(pk=sandbox.pk).update(blueprint="other")
    assert "Try the API" not in text(web.get("/"))
    assert "describe an API to explore" in text(web.get(address(sandbox)))
    assert api.asked == []


def test_an_api_without_lists_has_no_tables(web: Client, sandbox: Sandbox, api: SandboxApi) -> None:
    api.document = {"openapi": "3.1.0", "paths": {"/ping": {"get": {"summary": "Ping"}}}}
    api.replies["/ping"] = Reply(body=json.dumps({"pong": True}).encode())
    assert "Data" not in text(web.get(address(sandbox)))
    assert "pong" in text(send(web, sandbox, "GET /ping"))
