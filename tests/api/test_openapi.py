"""The API matches its OpenAPI document, and every error is a problem."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.db import OperationalError
from django.test import Client
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from sandboxes.accounts import api_tokens
from sandboxes.models import EventType, Sandbox
from sandboxes.webhooks import endpoints, outbox
from tests import fuzz
from tests.fakes.sandbox_api import SandboxApi, with_api_address
from tests.helpers.api_client import ApiClient, assert_problem
from tests.helpers.inbox import offer_events

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("runtime")]

HOOK = "http://127.0.0.1:1024/hook"

OF_THE_ANSWER = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
SENDING_MORE = [ignored_auth, unsupported_method]
"""Checks that send the same requests every time, so a few per operation are enough."""
SENDING_MORE_TIMES = 3
calls_by_operation = Counter[str]()


def checks_of(operation: str) -> list[Any]:
    calls_by_operation[operation] += 1
    few = not fuzz.CALLS and calls_by_operation[operation] <= SENDING_MORE_TIMES
    return OF_THE_ANSWER + SENDING_MORE if few else OF_THE_ANSWER


described = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", get_wsgi_application())
OPERATIONS = sum(1 for _ in described.get_all_operations())


@pytest.mark.slow
@described.parametrize()
@hypothesis.settings(
    max_examples=fuzz.examples_per_operation(OPERATIONS),
    deadline=None,
    derandomize=not fuzz.CALLS and hypothesis.settings.default.derandomize,
    # A single developer sends all requests.
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_responses_to_generated_requests_match_the_document(
    case: schemathesis.Case, alice: User, api: SandboxApi, settings
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = True
    program = ApiClient(alice)
    if case.path_parameters.get("sandbox_id"):
        live = program.get("/sandboxes?state=running").json()["data"] or [program.launch()]
        case.path_parameters["sandbox_id"] = live[0]["id"]
        with_api_address(Sandbox.objects.get(public_id=live[0]["id"]), api.address)
        offer_events(api)
    if case.path_parameters.get("webhook_id"):
        hook = alice.webhooks.first() or endpoints.create(alice, HOOK, EventType.values)[0]
        case.path_parameters["webhook_id"] = hook.public_id
        if case.path_parameters.get("delivery_id"):
            delivery = hook.deliveries.first() or outbox.send_test(hook)
            case.path_parameters["delivery_id"] = delivery.message_id
    token = api_tokens.issue(alice, "schemathesis")[1]
    # The client of these tests does not decompress.
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    response = case.call(headers=headers)
    fuzz.counts.update(["calls", f"status {response.status_code}"])
    checks = checks_of(case.operation.label)
    case.validate_response(response, checks, headers=headers, transport_kwargs={"headers": headers})


def test_the_document_has_every_operation_with_its_responses() -> None:
    described = Client().get("/api/v1/openapi.json").json()
    operations = {
        operation["operationId"]: operation
        for path in described["paths"].values()
        for operation in path.values()
    }
    assert operations.keys() == {
        "launch_sandbox", "list_sandboxes", "get_sandbox", "rename_sandbox", "destroy_sandbox",
        "read_connections", "read_credentials", "extend_sandbox", "send_heartbeat",
        "touch_sandbox", "reset_sandbox", "replace_sandbox", "list_events", "read_log",
        "read_usage", "read_limits",
        "list_blueprints", "list_webhooks", "create_webhook", "get_webhook", "change_webhook",
        "delete_webhook", "rotate_webhook_secret", "test_webhook", "list_deliveries", "redeliver",
        "list_inbox", "create_inbox_event", "replay_inbox_event", "list_event_endpoints",
        "change_event_endpoint", "get_clock", "change_clock", "list_requests", "get_request",
        "repeat_request", "list_operations", "send_request", "record_agent_call",
        "save_sandbox", "list_save_points", "list_save_points_of_sandbox", "get_save_point",
        "rename_save_point", "delete_save_point", "restore_save_point",
    }  # fmt: skip
    for name, operation in operations.items():
        assert {"401", "403", "500", "503"} <= operation["responses"].keys(), name
        assert operation["description"], name
        for status, answer in operation["responses"].items():
            kind = "application/problem+json" if status >= "400" else "application/json"
            assert list(answer["content"]) == [kind], (name, status)


def test_the_document_has_the_errors_of_operations_with_input() -> None:
    described = Client().get("/api/v1/openapi.json").json()
    for path, operations in described["paths"].items():
        for operation in operations.values():
            statuses = operation["responses"].keys()
            assert ("404" in statuses) == ("_id}" in path), operation["operationId"]
            assert "422" in statuses
            assert ({"400", "413"} <= statuses) == ("requestBody" in operation)


def test_the_document_and_the_guide_have_every_webhook_event() -> None:
    described = Client().get("/api/v1/openapi.json").json()
    guide = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    schemas = described["components"]["schemas"]
    assert list(described["webhooks"]) == EventType.values
    for kind, operation in described["webhooks"].items():
        content = operation["post"]["requestBody"]["content"]["application/json"]
        assert content["schema"]["$ref"].rpartition("/")[2] in schemas
        assert f"| `{kind}` |" in guide
    assert schemas["Message"]["properties"]["data"]["$ref"].endswith("/Sandbox")
    used = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(described)))
    assert used <= schemas.keys()


def test_the_guide_lists_every_operation() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    described = Client().get("/api/v1/openapi.json").json()
    calls = {
        f"`{method.upper()} {path.removeprefix('/api/v1')}`"
        for path, operations in described["paths"].items()
        for method in operations
    }
    assert {call for call in calls if call not in guide} == set()


@pytest.mark.parametrize("path", ["/nothing", "/sandboxes/", "/sandboxes/x/y/z", "/docs/", "//"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_unknown_paths_are_problems(alice: User, method: str, path: str) -> None:
    assert_problem(ApiClient(alice).send(method, path), 404)


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v2", "/api/v2/sandboxes", "/api/v1x"])
def test_a_path_beside_the_api_is_a_problem_that_names_the_api(path: str) -> None:
    assert_problem(Client().get(path), 404, "/api/v1/")


def test_a_slash_too_many_is_answered_with_the_right_path(alice: User) -> None:
    client = ApiClient(alice)
    assert_problem(client.get("/sandboxes/"), 404, "Use /api/v1/sandboxes.")
    assert "Use" not in assert_problem(client.get("/nothing/"), 404)["detail"]


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/"])
def test_the_root_of_the_api_says_where_its_documentation_is(path: str) -> None:
    root = Client().get(path)
    assert root.status_code == 200
    found = root.json()
    found.pop("client", None)  # Only where the client has been built.
    assert found == {
        "name": "Sandbox Portal API",
        "version": "1",
        "openapi": "http://testserver/api/v1/openapi.json",
        "documentation": "http://testserver/api/v1/docs",
        "device_authorization_endpoint": "http://testserver/api/v1/device_authorization",
        "token_endpoint": "http://testserver/api/v1/token",
    }
    assert Client().head(path)["Content-Length"] == str(len(root.content))
    assert_problem(Client().post(path), 405, "GET, HEAD, OPTIONS")


METHODS = {
    "": "GET, HEAD, OPTIONS",
    "/openapi.json": "GET, HEAD, OPTIONS",
    "/docs": "GET, HEAD, OPTIONS",
    "/limits": "GET, HEAD, OPTIONS",
    "/sandboxes": "GET, HEAD, OPTIONS, POST",
    "/sandboxes/sbx_1": "DELETE, GET, HEAD, OPTIONS, PATCH",
    "/sandboxes/sbx_1/touch": "OPTIONS, POST",
    "/webhooks/whk_1": "DELETE, GET, HEAD, OPTIONS, PATCH",
}


@pytest.mark.parametrize("path", METHODS)
def test_options_lists_the_methods_of_a_path_without_a_token(path: str) -> None:
    answer = Client().options(f"/api/v1{path}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer["Allow"] == METHODS[path]


def test_head_responds_like_get_without_a_body(alice: User) -> None:
    program = ApiClient(alice)
    one = f"/sandboxes/{program.launch()['id']}"
    for path in ("/sandboxes?limit=1", one, "/limits", "/openapi.json", "/docs", "/sandboxes/x"):
        got, head = program.get(path), program.send("HEAD", path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head["Content-Type"] == got["Content-Type"]
        assert abs(int(head["Content-Length"]) - len(got.content)) < 100, path
    refused = program.send("HEAD", f"{one}/touch")
    assert (refused.status_code, refused.content) == (405, b"")
    assert Client().head("/api/v1/sandboxes").status_code == 401


@pytest.mark.parametrize(
    ("path", "field"),
    [("/sandboxes?stat=running", "stat"), ("/sandboxes?limit=5&limit=6", "limit"),
     ("/sandboxes?State=running", "State"), ("/sandboxes?=", ""), ("/limits?x=1", "x"),
     ("/limits?limit", "limit"), ("/webhooks?limit=5", "limit"),
     ("/sandboxes?cursor&Limit=1", "Limit"),
     ("/sandboxes?%0A=1", "\n")],
)  # fmt: skip
def test_an_unknown_or_repeated_query_parameter_is_refused(
    alice: User, path: str, field: str
) -> None:
    problem = assert_problem(ApiClient(alice).get(path), 422)
    assert [error["field"] for error in problem["errors"]] == [field]


def test_changes_refuse_query_parameters_and_change_nothing(alice: User) -> None:
    program = ApiClient(alice)
    assert_problem(program.post("/sandboxes?ttl_minutes=15"), 422, "ttl_minutes", "query")
    assert program.get("/sandboxes?state=running&state=pending").json()["data"] == []
    assert_problem(Client().get("/api/v1/sandboxes?x=1"), 401)


@pytest.mark.parametrize("sandbox_id", ["1", "SBX_ABC", "sbx_", "sbx_%00", "..%2f", "%e2%80%ae"])
def test_an_impossible_id_is_not_found(alice: User, sandbox_id: str) -> None:
    assert_problem(ApiClient(alice).get(f"/sandboxes/{sandbox_id}"), 404)


def test_a_wrong_method_is_rejected_with_the_allowed_ones(alice: User) -> None:
    answer = ApiClient(alice).send("PUT", "/sandboxes")
    assert_problem(answer, 405, "PUT", "GET, HEAD, OPTIONS, POST")
    assert answer["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_an_unexpected_error_reveals_no_internals(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr("sandboxes.core.limits.get_limits", fail)
    answer = ApiClient(alice).get("/limits")
    assert_problem(answer, 500)
    assert "secret" not in answer.content.decode()
    assert "Traceback" not in answer.content.decode()


def test_an_unreachable_database_is_a_503(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OperationalError("could not connect to 10.0.0.7")

    monkeypatch.setattr("sandboxes.core.limits.get_limits", fail)
    answer = ApiClient(alice).get("/limits")
    assert_problem(answer, 503, "database")
    assert int(answer["Retry-After"]) > 0
    assert "10.0.0.7" not in answer.content.decode()
