"""Webhooks through the API: validation, ownership and scopes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sandboxes.models import EventType, Scope, Webhook
from tests.fakes.webhook_receiver import Receiver
from tests.helpers.api_client import ApiClient, assert_problem
from tests.helpers.scenarios import run_on_commit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db

CALLS = [
    ("GET", "/webhooks", Scope.READ),
    ("POST", "/webhooks", Scope.ALL),
    ("GET", "/webhooks/{id}", Scope.READ),
    ("PATCH", "/webhooks/{id}", Scope.ALL),
    ("DELETE", "/webhooks/{id}", Scope.ALL),
    ("POST", "/webhooks/{id}/secret", Scope.ALL),
    ("POST", "/webhooks/{id}/test", Scope.ALL),
    ("GET", "/webhooks/{id}/deliveries", Scope.READ),
    ("POST", "/webhooks/{id}/deliveries/{delivery}/redeliver", Scope.ALL),
]


@pytest.fixture
def webhook(alice: User, receiver: Receiver) -> dict[str, Any]:
    """Create a webhook of alice's and send a test to it."""
    program = ApiClient(alice)
    answer = program.post("/webhooks", {"url": receiver.url, "name": "bot"})
    assert answer.status_code == 201, answer.content
    webhook: dict[str, Any] = answer.json() | {"location": answer["Location"]}
    with run_on_commit():
        webhook["delivery"] = program.post(f"/webhooks/{webhook['id']}/test").json()["id"]
    return webhook


def body(method: str, path: str, receiver: Receiver) -> dict[str, Any] | None:
    if method == "PATCH":
        return {"enabled": False}
    return {"url": receiver.url} if path == "/webhooks" and method == "POST" else None


def test_create_read_update_and_delete_a_webhook(
    alice: User, receiver: Receiver, webhook: dict[str, Any]
) -> None:
    program, path = ApiClient(alice), f"/webhooks/{webhook['id']}"
    assert webhook["location"].endswith(f"/api/v1{path}")
    assert webhook["events"] == EventType.values
    assert receiver.types(webhook["secret"]) == ["webhook.test"]
    assert [one["id"] for one in program.get("/webhooks").json()["data"]] == [webhook["id"]]
    shown = program.get(path).json()
    assert "secret" not in shown
    assert (shown["enabled"], shown["status"], shown["off_because"]) == (True, "on", None)

    changed = program.send("PATCH", path, {"events": ["sandbox.failed"], "name": ""}).json()
    assert (changed["events"], changed["name"], changed["url"]) == (
        ["sandbox.failed"],
        "",
        receiver.url,
    )
    off = program.send("PATCH", path, {"enabled": False}).json()
    assert (off["status"], off["off_because"]) == ("off", "owner")
    assert_problem(program.post(f"{path}/test"), 409, "disabled")
    assert program.send("PATCH", path, {"enabled": True}).json()["status"] == "on"

    rotated = program.post(f"{path}/secret").json()
    assert rotated["secret"] != webhook["secret"] and rotated["previous_secret_until"]
    assert program.delete(path).json()["id"] == webhook["id"]
    assert_problem(program.get(path), 404)


def test_deliveries_list_every_attempt_and_can_be_resent(
    alice: User, receiver: Receiver, webhook: dict[str, Any]
) -> None:
    program, path = ApiClient(alice), f"/webhooks/{webhook['id']}/deliveries"
    (delivery,) = program.get(path).json()["data"]
    assert (delivery["id"], delivery["outcome"]) == (webhook["delivery"], "delivered")
    assert [one["status"] for one in delivery["tries"]] == [204]
    assert delivery["payload"]["type"] == "webhook.test"
    with run_on_commit():
        again = program.post(f"{path}/{delivery['id']}/redeliver")
    assert (again.status_code, again.json()["outcome"]) == (202, "pending")
    assert receiver.ids == [delivery["id"]] * 2
    with run_on_commit():
        program.post(f"/webhooks/{webhook['id']}/test")
    page = program.get(f"{path}?limit=1")
    assert page.json()["has_more"] and 'rel="next"' in page["Link"]
    rest = program.get(f"{path}?limit=1&cursor={page.json()['next_cursor']}").json()
    assert [one["id"] for one in rest["data"]] == [delivery["id"]]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://example.com/", "events": []}, "events"),
        ({"url": "https://example.com/", "events": ["x"]}, "events"),
        ({"url": "https://example.com/", "name": "x" * 61}, "name"),
        ({"url": "https://example.com/", "secret": "mine"}, "secret"),
    ],
)
def test_invalid_input_names_the_field(alice: User, wrong: dict[str, Any], field: str) -> None:
    problem = assert_problem(ApiClient(alice).post("/webhooks", wrong), 422)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert not Webhook.objects.exists()


def test_too_many_webhooks_are_a_conflict(alice: User, receiver: Receiver, settings) -> None:
    settings.WEBHOOKS_PER_USER = 1
    program = ApiClient(alice)
    program.post("/webhooks", {"url": receiver.url})
    assert_problem(program.post("/webhooks", {"url": receiver.url}), 409, "limit of 1")


@pytest.mark.parametrize(("method", "path", "needed"), CALLS)
def test_an_insufficient_scope_is_rejected(
    alice: User, receiver: Receiver, webhook: dict[str, Any], method: str, path: str, needed: Scope
) -> None:
    path = path.format(**webhook)
    data = body(method, path, receiver)
    for scope in list(Scope)[: Scope.values.index(needed)]:
        assert_problem(ApiClient(alice, scope).send(method, path, data), 403, f"“{needed}”")
    assert ApiClient(alice, needed).send(method, path, data).status_code < 300


@pytest.mark.parametrize(("method", "path", "needed"), [c for c in CALLS if "{" in c[1]])
def test_another_users_webhook_is_not_found(
    bob: User,
    olga: User,
    receiver: Receiver,
    webhook: dict[str, Any],
    method: str,
    path: str,
    needed: Scope,
) -> None:
    for user in (bob, olga):
        answer = ApiClient(user).send(method, path.format(**webhook), body(method, path, receiver))
        assert_problem(answer, 404)
    assert Webhook.objects.get().is_enabled and len(receiver.messages) == 1


def test_lists_contain_only_the_users_own_webhooks(bob: User, webhook: dict[str, Any]) -> None:
    assert ApiClient(bob).get("/webhooks").json() == {"data": []}


@pytest.mark.parametrize("name", ["1", "whk_", "WHK_0", "whk_%00", "msg_0"])
def test_an_impossible_id_is_not_found(alice: User, name: str) -> None:
    assert_problem(ApiClient(alice).get(f"/webhooks/{name}"), 404)
