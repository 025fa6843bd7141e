"""OpenAPI documents: parsing and export."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sandboxes.blueprints.auth import Auth, AuthType
from sandboxes.explorer import openapi, postman
from sandboxes.explorer.openapi.parser import MAX_OPERATIONS, MAX_PARTS
from sandboxes.lib.exceptions import ValidationFailed
from sandboxes.lib.untrusted_json import MAX_DEPTH, dumps_pretty, loads
from tests.fakes.sandbox_api import billing_document


@pytest.fixture(scope="module")
def billing() -> openapi.Description:
    return openapi.read(json.dumps(billing_document()).encode())


def described(**operation: Any) -> openapi.Operation:
    """Return the only operation of a document."""
    path = operation.pop("path", "/things")
    document = {"openapi": "3.0.3", "paths": {path: {"post": operation}}}
    document |= operation.pop("document", {})
    (found,) = openapi.read(json.dumps(document).encode()).operations.values()
    return found


def example_of(schema: Any, **document: Any) -> Any:
    content = {"application/json": {"schema": schema}}
    body = described(requestBody={"content": content}, document=document).body
    assert body
    return body.example


def test_operations_of_billing_are_grouped_by_resource(billing: openapi.Description) -> None:
    documented = {
        f"{method.upper()} {path}"
        for path, item in billing_document()["paths"].items()
        for method in item
    }
    assert {f"{one.method} {one.path}" for one in billing.operations.values()} == documented
    resources = ["plans", "subscribers", "subscriptions", "invoices", "payments"]
    resources += ["payment_methods", "refunds", "events", "webhook_endpoints"]
    resources += ["webhook_deliveries", "faults"]
    resources += ["requests", "stellar_payments", "stellar_transfers"]
    groups = [group.name for group in billing.groups]
    groups.remove("test_clock")  # It has no list.
    assert groups == resources
    assert [one.resource for one in billing.lists] == resources


def test_a_list_has_columns_and_a_detail_operation(billing: openapi.Description) -> None:
    invoices = billing.operations["listInvoices"]
    assert invoices.columns[:3] == ["id", "number", "subscriber_id"]
    reader = billing.detail_operation(invoices)
    assert reader and reader.path == "/v1/invoices/{id}"
    assert billing.related_list(billing.operations["payInvoice"]) == invoices


def test_path_values_are_escaped(
    billing: openapi.Description,
) -> None:
    reader = billing.operations["getPlan"]
    assert reader.target({"path.id": "a/b?c#d e"}) == "/v1/plans/a%2Fb%3Fc%23d%20e"
    for nothing in ({}, {"path.id": " "}, {"path.id": ".."}):
        with pytest.raises(ValidationFailed) as refused:
            reader.target(nothing)
        assert refused.value.field == "id"
    plans = billing.operations["listPlans"]
    filled = {"query.limit": "3", "query.cursor": "", "query.currency": "a&b", "query.other": "x"}
    assert plans.target(filled) == "/v1/plans?limit=3&currency=a%26b"


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "example": "told"}, "told"),
        ({"type": "string", "examples": ["first", "second"]}, "first"),
        ({"type": "integer", "default": 0}, 0),
        ({"enum": ["red", "blue"]}, "red"),
        ({"type": ["null", "integer"], "minimum": 5}, 5),
        ({"type": "string", "format": "email"}, "ada@example.com"),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"type": "array", "items": {"type": "number"}}, [1]),
        (
            {
                "properties": {"full_name": {"type": "string"}, "b": {}, "c": {}},
                "required": ["full_name", "b"],
            },
            {"full_name": "Example full name", "b": "Example b"},
        ),
        ({"type": "object", "properties": {"only": {"type": "boolean"}, "b": {}}}, {"only": True}),
        (
            {"allOf": [{"$ref": "#/parts/A"}, {"properties": {"b": {"const": 2}}}]},
            {"a": 1},
        ),
    ],
)
def test_a_body_has_an_example(schema: Any, expected: Any) -> None:
    part = {"properties": {"a": {"const": 1}}, "required": ["a"]}
    assert example_of(schema, parts={"A": part}) == expected


def test_circular_references_end() -> None:
    circle = {"properties": {"again": {"$ref": "#/parts/Circle"}}}
    deep = json.dumps(example_of({"$ref": "#/parts/Circle"}, parts={"Circle": circle}))
    assert deep.count("again") <= 6
    assert example_of({"$ref": "#/parts/A"}, parts={"A": {"$ref": "#/parts/A"}}) == "Example"


def test_examples_of_recursive_schemas_are_small() -> None:
    names = [f"p{number}" for number in range(100)]
    bomb = {"properties": {name: {"$ref": "#/parts/Bomb"} for name in names}, "required": names}
    assert len(json.dumps(example_of({"$ref": "#/parts/Bomb"}, parts={"Bomb": bomb}))) < 10_000


def test_large_documents_are_truncated() -> None:
    many = {"anyOf": [{"$ref": "#/parts/Many"}] * 5000}
    wide = {"properties": {f"p{n}": {"$ref": "#/parts/Many"} for n in range(5000)}}
    operation = {"requestBody": {"$ref": "#/parts/Body"}}
    body = {"content": {"application/json": {"schema": {"$ref": "#/parts/Wide"}}}}
    document = {
        "openapi": "3.1.0",
        "paths": {f"/{number}": {"post": operation} for number in range(400)},
        "parts": {"Many": many, "Wide": wide, "Body": body},
    }
    found = openapi.read(json.dumps(document).encode())
    assert len(found.operations) == MAX_OPERATIONS
    body = found.operations["POST /7"].body
    assert body and len(body.fields) == MAX_PARTS


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (rb'"\\ud800"', "\\ud800"),
        (rb'"\\ud83d\\ude00"', r"\ud83d\ude00"),
        (rb'"\ud800"', "\ufffd"),
        (rb'"\uDC00\uD800x\ud83d\ude00"', "\ufffd\ufffdx😀"),
        (rb'{"\ud800": 1}', {"\ufffd": 1}),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b'"\xff"', "\ufffd"),
        (b"1e999999", "1e999999"),
        (b"-1e400", "-1e400"),
        (b"9" * 5000, "9" * 5000),
        (b"[NaN, -Infinity, 0.5, -3]", ["NaN", "-Infinity", 0.5, -3]),
    ],
)
def test_every_value_can_be_encoded_again(source: bytes, expected: Any) -> None:
    assert loads(source) == expected
    json.dumps(loads(source), ensure_ascii=False, allow_nan=False).encode()


def test_deeply_nested_json_is_rejected() -> None:
    for depth in (MAX_DEPTH + 2, 100_000):
        with pytest.raises(ValueError, match="too deep"):
            loads(b"[" * depth + b"]" * depth)


def test_json_with_too_many_values_is_rejected() -> None:
    with pytest.raises(ValueError, match="too many"):
        loads(b"[" + b"[]," * 200_000 + b"0]")


def test_pretty_json_is_cut() -> None:
    assert dumps_pretty({"a": ["x" * 100] * 1000}, 50) == dumps_pretty({"a": ["x" * 100]})[:50]


@pytest.mark.parametrize("nonsense", [None, 3, "text", [], [1], {"$ref": 5}, {"a": {"b": []}}])
def test_invalid_parts_of_a_document_are_ignored(nonsense: Any) -> None:
    valid = {"post": {"summary": "Works", "parameters": nonsense, "requestBody": nonsense}}
    document = {
        "openapi": "3.1.0",
        "info": nonsense,
        "tags": nonsense,
        "components": nonsense,
        "paths": {"/ok": {**valid, "get": nonsense, "parameters": nonsense}, "/other": nonsense},
    }
    found = openapi.read(json.dumps(document).encode())
    assert "POST /ok" in found.operations
    assert postman.build_collection(found, "x", "http://x", Auth(), "")["item"]


def test_the_collection_contains_all_operations_and_variables(
    billing: openapi.Description,
) -> None:
    auth = Auth(AuthType.BEARER, "api_key")
    made = postman.build_collection(billing, "Mine", "http://127.0.0.1:1", auth, "sk_test_x")
    assert made["info"]["schema"].endswith("/v2.1.0/collection.json")
    values = {one["key"]: one["value"] for one in made["variable"]}
    assert values == {"base_url": "http://127.0.0.1:1", "api_key": "sk_test_x"}
    assert made["auth"]["bearer"][0]["value"] == "{{api_key}}"
    requests = [item["request"] for folder in made["item"] for item in folder["item"]]
    documented = {
        (one["method"], re.sub(r":(\w+)", r"{\1}", one["url"]["raw"])) for one in requests
    }
    own = billing.operations.values()
    assert documented == {(one.method, "{{base_url}}" + one.path) for one in own}
    for request in requests:
        named = {one["key"] for one in request["url"]["variable"]}
        assert named == {part[1:] for part in request["url"]["path"] if part[0] == ":"}
        if "body" in request:
            json.loads(request["body"]["raw"])


@pytest.mark.parametrize(
    ("auth", "attributes"),
    [
        (Auth(), {}),
        (
            Auth(AuthType.HEADER, "key", name="X-Api-Key"),
            {"key": "X-Api-Key", "value": "{{key}}", "in": "header"},
        ),
        (
            Auth(AuthType.BASIC, "password", username="ada"),
            {"username": "ada", "password": "{{password}}"},
        ),
    ],
)
def test_the_collection_authenticates_as_the_blueprint_says(
    billing: openapi.Description, auth: Auth, attributes: dict[str, str]
) -> None:
    made = postman.build_collection(billing, "Mine", "http://x", auth, "s3")
    kind = made["auth"]["type"]
    assert {one["key"]: one["value"] for one in made["auth"].get(kind, [])} == attributes
    assert "s3" not in json.dumps(made["auth"])
    assert len(made["variable"]) == (2 if auth.credential else 1)


def header(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": {"type": "string"}} | more


def test_header_parameters_are_sent_unless_the_portal_fills_them() -> None:
    names = ("X-Tenant", "x-api-key", "Authorization", "accept", "Content-Type", "no: name")
    parameters = [header(name, required=True, example="t 1") for name in names]
    document = {"openapi": "3.1.0", "paths": {"/ok": {"get": {"parameters": parameters}}}}
    found = openapi.read(json.dumps(document).encode(), ["X-Api-Key"])
    operation = found.operations["GET /ok"]
    assert [one.key for one in operation.parameters] == ["header.X-Tenant"]
    assert operation.headers({"header.X-Tenant": " a b "}) == [("X-Tenant", "a b")]
    assert operation.headers({}) == []
    assert operation.target({"header.X-Tenant": "a"}) == "/ok"
    for evil in ("a\r\nHost: x", "\0", "ü"):
        with pytest.raises(ValidationFailed, match="printable ASCII"):
            operation.headers({"header.X-Tenant": evil})
    (request,) = (item["request"] for item in collection_items(found))
    assert {"key": "X-Tenant", "value": "t 1", "description": "", "disabled": False} in request[
        "header"
    ]


def collection_items(description: openapi.Description) -> list[dict[str, Any]]:
    made = postman.build_collection(description, "x", "http://x", Auth(), "")
    return [item for folder in made["item"] for item in folder["item"]]


def test_the_document_contains_the_server_url(billing: openapi.Description) -> None:
    document = postman.with_server(billing, "http://127.0.0.1:1")
    assert document == {**billing_document(), "servers": [{"url": "http://127.0.0.1:1"}]}
