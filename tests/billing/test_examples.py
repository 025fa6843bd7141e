"""The examples in the OpenAPI document are valid requests, in any order."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from sandboxes.blueprints import load
from sandboxes.explorer import openapi
from tests.billing.harness import ApiClient
from tests.fakes.sandbox_api import billing_document

pytestmark = pytest.mark.postgres

BILLING = openapi.read(json.dumps(billing_document()).encode())
OPERATIONS = [*BILLING.operations.values()]
ORDERS = {
    "as listed": OPERATIONS,
    "reversed": OPERATIONS[::-1],
    **{f"shuffled {n}": random.Random(n).sample(OPERATIONS, len(OPERATIONS)) for n in range(4)},
}


@pytest.mark.parametrize("order", ORDERS)
def test_every_prefilled_request_succeeds_in_any_order(api: ApiClient, order: str) -> None:
    api.ok("GET", "/v1/plans")  # The request that the log begins with.
    failed = []
    for operation in ORDERS[order]:
        path = operation.target({one.key: one.example for one in operation.parameters})
        path = path if operation.method != "GET" else path.partition("?")[0]
        response = api.request(
            operation.method, path, json=operation.body.example if operation.body else None
        )
        if response.status_code not in (200, 201):
            failed.append(f"{operation.id}: {response.text}")
    assert failed == []


def test_every_list_and_its_first_row_can_be_read(reader: ApiClient) -> None:
    for listing in BILLING.lists:
        page = reader.ok("GET", listing.target({"query.limit": "1"}))
        assert set(listing.columns) == set(page["data"][0])
        one = BILLING.detail_operation(listing)
        assert one
        assert reader.ok("GET", one.target({"path.id": page["data"][0]["id"]})) == page["data"][0]


def is_excerpt(part: Any, whole: Any) -> bool:
    """Return whether the whole has everything of the part; lists begin with its items."""
    if isinstance(part, dict):
        return all(name in whole and is_excerpt(one, whole[name]) for name, one in part.items())
    if isinstance(part, list):
        return len(part) <= len(whole) and all(map(is_excerpt, part, whole))
    return bool(part == whole)


def test_the_example_of_the_sign_in_page_is_what_a_new_sandbox_answers(reader: ApiClient) -> None:
    example = load("billing").first_call
    assert example and example.answer
    answer = reader.ok("GET", example.path)
    assert is_excerpt(example.answer, answer), answer
