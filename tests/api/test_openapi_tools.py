"""The OpenAPI document of the portal works in the tools of other vendors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from django.core.wsgi import get_wsgi_application
from django.test import Client

from sandboxes.accounts import api_tokens
from sandboxes.blueprints.auth import Auth, AuthType
from sandboxes.explorer import openapi, postman
from sandboxes.lib import clock
from sandboxes.models import EventType, Sandbox
from sandboxes.webhooks import endpoints, outbox
from tests.fakes.sandbox_api import SandboxApi, with_api_address
from tests.helpers.api_client import ApiClient
from tests.helpers.inbox import offer_events, receive
from tests.openapi import tools

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper
    from pytest_django.live_server_helper import LiveServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("runtime"),
    pytest.mark.openapi,
]


def described() -> dict[str, Any]:
    document: dict[str, Any] = Client().get("/api/v1/openapi.json").json()
    return document


def test_the_document_has_no_lint_findings(tmp_path: Path) -> None:
    assert tools.lint_findings(described(), tmp_path) == []


def test_newman_gets_a_success_for_every_request_of_a_collection(
    alice: User, live_server: LiveServer, api: SandboxApi, settings: SettingsWrapper, tmp_path: Path
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = True
    webhook, _ = endpoints.create(alice, "http://127.0.0.1:1024/hook", EventType.values)
    sandbox_id = ApiClient(alice).launch(heartbeat_seconds=300)["id"]
    sandbox = with_api_address(Sandbox.objects.get(public_id=sandbox_id), api.address)
    offer_events(api)
    unreachable = ApiClient(alice).launch()["id"]
    Sandbox.objects.filter(public_id=unreachable).update(unreachable_since=clock.now())
    saved = ApiClient(alice).post(f"/sandboxes/{sandbox_id}/save-points", {"name": "first"}).json()
    values = {
        "sandbox_id": sandbox_id,
        **receive(sandbox, "order.paid"),
        "webhook_id": webhook.public_id,
        "delivery_id": outbox.send_test(webhook).message_id,
        "log_id": "log_000000001",
        "save_point_id": saved["id"],
        "service": "api",
    }
    described_api = openapi.read(json.dumps(described()).encode())
    token, auth = api_tokens.issue(alice, "newman")[1], Auth(AuthType.BEARER, "token")
    collection = postman.build_collection(described_api, "Portal", live_server.url, auth, token)
    requests = [request for group in collection["item"] for request in group["item"]]
    for item in requests:
        own = {"sandbox_id": unreachable} if item["name"] == "Replace Sandbox" else {}
        known = values | own
        for parameter in item["request"]["url"]["variable"] + item["request"]["url"]["query"]:
            if parameter["key"] in known:
                parameter |= {"value": known[parameter["key"]], "disabled": False}
    # What is deleted can't be used by another request, and a reset deletes events and the address.
    requests.sort(
        key=lambda item: (
            item["request"]["method"] == "DELETE",
            item["name"].startswith(("Reset", "Restore")),
        )
    )
    statuses = tools.run_collection(collection | {"item": requests}, tmp_path)
    assert len(statuses) == len(described_api.operations)
    assert {
        name: status for name, status in statuses.items() if status not in range(200, 203)
    } == {}


def test_a_generated_client_launches_uses_and_destroys_a_sandbox(
    alice: User, tmp_path: Path
) -> None:
    client = tools.generate_client(described(), tmp_path, "portal_client")
    models, sandboxes = client.models, client.api.sandboxes
    session = client.AuthenticatedClient(
        base_url="http://testserver",
        token=api_tokens.issue(alice, "a generated client")[1],
        httpx_args={"transport": httpx.WSGITransport(app=get_wsgi_application())},
    )

    limits = client.api.limits_and_blueprints.read_limits.sync(client=session)
    body = models.Launch(name="generated", ttl_minutes=limits.ttl_minutes.min_)
    sandbox = sandboxes.launch_sandbox.sync(
        client=session, body=body, idempotency_key="once", prefer="wait=5"
    )
    again = sandboxes.launch_sandbox.sync(client=session, body=body, idempotency_key="once")
    assert (sandbox.state, again.id) == (models.State.RUNNING, sandbox.id)

    credentials = sandboxes.read_credentials.sync(sandbox.id, client=session)
    assert credentials.api_key.startswith("sk_test_")
    extended = sandboxes.extend_sandbox.sync(
        sandbox.id, client=session, body=models.Extend(minutes=10)
    )
    assert extended.sandbox.expires_at > sandbox.expires_at
    running = sandboxes.list_sandboxes.sync(client=session, state=[models.State.RUNNING])
    assert [one.id for one in running.data] == [sandbox.id]
    events = client.api.observability.list_events.sync(sandbox.id, client=session, limit=1)
    assert events.has_more

    sandboxes.destroy_sandbox.sync(sandbox.id, client=session)
    ended = sandboxes.get_sandbox.sync(sandbox.id, client=session)
    assert ended.end_reason is models.EndReason.USER
    refused = sandboxes.touch_sandbox.sync(sandbox.id, client=session)
    assert isinstance(refused, models.Problem) and refused.status == 409
