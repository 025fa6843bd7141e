"""Odd input: never an internal error, and always a problem that names the field."""

from __future__ import annotations

from typing import Any

import pytest

from tests.billing.harness import ApiClient, assert_problem

pytestmark = pytest.mark.postgres

ADDRESS = "GBBRZRXALSICU6IDVWUMO2V7UABTPDFPKEXZVJQMH646O363FNVLLWTF"

BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "createPlan": ("POST /v1/plans", {"name": "Gold", "amount": "12.50", "currency": "USD"}),
    "updatePlan": ("PATCH /v1/plans/plan_team", {"name": "Gold"}),
    "createSubscriber": (
        "POST /v1/subscribers",
        {"name": "Ada", "email": "ada@example.com", "country": "GB", "stellar_address": ADDRESS,
         "company": "Engines"},
    ),
    "updateSubscriber": (
        "PATCH /v1/subscribers/sub_001",
        {"name": "Ada", "email": "ada@example.com", "country": "GB", "stellar_address": ADDRESS,
         "company": "Engines"},
    ),
    "createSubscription": (
        "POST /v1/subscriptions", {"subscriber_id": "sub_010", "plan_id": "plan_team"},
    ),
    "updateSubscription": ("PATCH /v1/subscriptions/sbn_001", {"plan_id": "plan_starter"}),
    "createInvoice": (
        "POST /v1/invoices",
        {"subscriber_id": "sub_001", "subscription_id": "sbn_001", "amount": "5.00",
         "currency": "EUR"},
    ),
    "updateInvoice": (
        "PATCH /v1/invoices/inv_008",
        {"due_at": "2099-01-31T09:30:00Z", "amount": "5.00", "currency": "EUR"},
    ),
    "payInvoice": ("POST /v1/invoices/inv_007/pay", {"method": "card"}),
    "createPayment": (
        "POST /v1/payments",
        {"invoice_id": "inv_007", "method": "card", "status": "failed", "failure_reason": "none"},
    ),
    "updatePayment": (
        "PATCH /v1/payments/pay_007", {"status": "failed", "failure_reason": "none"},
    ),
}  # fmt: skip
FIELDS = [(name, field) for name, (_, body) in BODIES.items() for field in body]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_a_field_with_an_odd_end_or_type_is_reported_by_its_name(
    reader: ApiClient, name: str, field: str
) -> None:
    (method, path), body = BODIES[name][0].split(), BODIES[name][1]
    value = body[field]
    odd = ["\n", "\r\n", "\0", "\x1f", "\x7f", "\x85", "\u2028"]
    values = [value + end for end in odd] + [f"\n{value}", value + "x" * 60_000]
    for sent in [*values, True, 5, 1.5, -1e300, 10**18, [value], {"a": value}]:
        response = reader.request(method, path, json=body | {field: sent})
        assert_problem(response, 422, field=field)


@pytest.mark.parametrize("text", ["a\0", "a\x1b[0m", "\x7f", "x" * 501])
def test_an_odd_description_is_rejected(reader: ApiClient, text: str) -> None:
    for path in ("plans/plan_team", "invoices/inv_008"):
        response = reader.patch(f"/v1/{path}", json={"description": text})
        assert_problem(response, 422, field="description")


def test_a_description_may_have_several_lines(api: ApiClient) -> None:
    lines = {"description": "One\n\tTwo\r\n🎉"}
    for path in ("plans/plan_team", "invoices/inv_008"):
        assert api.ok("PATCH", f"/v1/{path}", json=lines)["description"] == lines["description"]


def test_the_field_is_named_even_if_its_value_looks_like_a_message(reader: ApiClient) -> None:
    for value in ("Object missing required field `name`", "x - at `$.name`", "`$.name`\n"):
        response = reader.patch("/v1/payments/pay_007", json={"status": value})
        assert_problem(response, 422, field="status")
        named = reader.patch("/v1/plans/plan_team", json={value: 1})
        assert_problem(named, 422, "unknown field", field=value)


NUMBERS = ["1.0", "1e1", "1e400", "-1", "true", '"1"', "9" * 5000, "0x1", "[1]", "NaN", "1_0"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("path", "field"), [("plans/plan_team", "trial_days"), ("plans/plan_team", "active")]
)
def test_an_odd_number_is_rejected(reader: ApiClient, path: str, field: str, number: str) -> None:
    if number == "true" and field == "active":
        return
    response = reader.patch(f"/v1/{path}", content=f'{{"{field}": {number}}}')
    if response.status_code != 400:
        assert_problem(response, 422, field=field)


@pytest.mark.parametrize(
    "body",
    [b"[" * 60_000, b'{"name":' + b"[" * 60_000, b'{"a":' * 10_000, b'{"name": "\\ud800"}',
     b'{"name": "\\udc00\\ud800"}', b'{"name": "\xed\xa0\x80"}', b'{"name": "\xff"}',
     b"\xef\xbb\xbf{}", b'{"name": "a", }', b"{}{}"],
)  # fmt: skip
def test_an_odd_body_is_rejected(reader: ApiClient, body: bytes) -> None:
    for method, path in (("POST", "/v1/plans"), ("PATCH", "/v1/plans/plan_team")):
        assert reader.request(method, path, content=body).status_code in (400, 422)


PARAMETERS = ["limit", "cursor", "subscriber_id", "subscription_id", "status", "currency"]


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("end", ["%0A", "%0D", "%00", "%09", "%1F", "%7F", "%C2%85"])
def test_a_parameter_with_a_control_character_is_reported_by_its_name(
    reader: ApiClient, name: str, end: str
) -> None:
    values = {"limit": "5", "status": "open", "currency": "EUR"}
    query = f"{name}={values.get(name, 'sub_001')}{end}"
    assert_problem(reader.get(f"/v1/invoices?{query}"), 422, field=name)


@pytest.mark.parametrize(
    "query", ["email=a@b.c%0A", "country=DE%0A", f"stellar_address={ADDRESS}%0A"]
)
def test_a_filter_of_subscribers_with_a_line_break_is_reported(
    reader: ApiClient, query: str
) -> None:
    assert_problem(reader.get(f"/v1/subscribers?{query}"), 422, field=query.partition("=")[0])


@pytest.mark.parametrize(
    "limit",
    ["1" * 5000, "-1", "+5", "0x5", "\u0665", "5;", "5.5", "1e400", "NaN", "1e1", "5.0", "1E0"],
)
def test_an_odd_limit_is_reported(reader: ApiClient, limit: str) -> None:
    assert_problem(reader.get("/v1/plans", params={"limit": limit}), 422, field="limit")


@pytest.mark.parametrize("end", ["%0A", "%00", "%20", "%2F", "%C3%A9", "%ED%A0%80", "x" * 3000])
def test_an_id_with_an_odd_end_is_not_found(reader: ApiClient, end: str) -> None:
    for path in ("plans/plan_team", "invoices/inv_007", "invoices/inv_007/pay"):
        method = "POST" if path.endswith("pay") else "GET"
        assert_problem(reader.request(method, f"/v1/{path}{end}"), 404)


@pytest.mark.parametrize(
    "metadata",
    [
        {"seats": 5},
        {"": "x"},
        {"a\nb": "x"},
        {"x": "a\0b"},
        {"x" * 41: "x"},
        {"x": "y" * 501},
        {f"x{number}": "y" for number in range(21)},
        [],
    ],
)
def test_invalid_metadata_is_reported(reader: ApiClient, metadata: Any) -> None:
    plan = {"name": "New", "amount": "1.00", "currency": "EUR", "metadata": metadata}
    assert_problem(reader.post("/v1/plans", json=plan), 422, field="metadata")


@pytest.mark.parametrize(
    "path", ["plans/plan_team", "subscribers/sub_001", "subscriptions/sbn_008", "invoices/inv_001"]
)
def test_metadata_is_merged(api: ApiClient, path: str) -> None:
    api.ok("PATCH", f"/v1/{path}", json={"metadata": {"order": "1", "team": "red"}})
    changed = api.ok("PATCH", f"/v1/{path}", json={"metadata": {"order": None, "size": "L"}})
    assert changed["metadata"] == {"team": "red", "size": "L"}
