"""What the API's description gives as examples can be sent as it is, and works."""

from __future__ import annotations

import json

import pytest

from sandboxes import openapi
from tests.billing.harness import ApiClient
from tests.sandbox_apis import billing_document

pytestmark = pytest.mark.postgres

BILLING = openapi.read(json.dumps(billing_document()).encode())
NOT_NOW = {"issue_a_draft": 409, "resume_a_subscription": 409, "refund_a_payment": 409}
"""What the examples' invoice, subscription and payment are not in the state for, at first."""


@pytest.mark.parametrize("name", [n for n, o in BILLING.operations.items() if o.method != "GET"])
def test_a_request_is_taken_as_it_is_prefilled(api: ApiClient, name: str) -> None:
    operation = BILLING.operations[name]
    path = operation.target({one.key: one.example for one in operation.parameters})
    body = operation.body.example if operation.body else None
    answer = api.request(operation.method, path, json=body)
    expected = {NOT_NOW[name]} if name in NOT_NOW else {200, 201}
    assert answer.status_code in expected, answer.text


def test_every_list_and_everything_in_it_can_be_read(reader: ApiClient) -> None:
    for listing in BILLING.lists:
        page = reader.ok("GET", listing.target({"query.limit": "1"}))
        assert set(listing.columns) == set(page["data"][0])
        one = BILLING.reader_of(listing)
        assert one
        assert reader.ok("GET", one.target({"path.id": page["data"][0]["id"]})) == page["data"][0]
