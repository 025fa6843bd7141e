"""The examples in the OpenAPI document are valid requests."""

from __future__ import annotations

import json

import pytest

from sandboxes.explorer import openapi
from tests.billing.harness import ApiClient
from tests.fakes.sandbox_api import billing_document

pytestmark = pytest.mark.postgres

BILLING = openapi.read(json.dumps(billing_document()).encode())
CONFLICTS = {"issue_a_draft": 409, "resume_a_subscription": 409, "refund_a_payment": 409}
"""Operations that conflict with the initial state of their example rows."""


@pytest.mark.parametrize("name", [n for n, o in BILLING.operations.items() if o.method != "GET"])
def test_every_prefilled_request_is_accepted(api: ApiClient, name: str) -> None:
    operation = BILLING.operations[name]
    path = operation.target({one.key: one.example for one in operation.parameters})
    body = operation.body.example if operation.body else None
    response = api.request(operation.method, path, json=body)
    expected = {CONFLICTS[name]} if name in CONFLICTS else {200, 201}
    assert response.status_code in expected, response.text


def test_every_list_and_its_first_row_can_be_read(reader: ApiClient) -> None:
    for listing in BILLING.lists:
        page = reader.ok("GET", listing.target({"query.limit": "1"}))
        assert set(listing.columns) == set(page["data"][0])
        one = BILLING.detail_operation(listing)
        assert one
        assert reader.ok("GET", one.target({"path.id": page["data"][0]["id"]})) == page["data"][0]
