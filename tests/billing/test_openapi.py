"""The API conforms to its OpenAPI document, for valid and invalid requests."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
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

from tests.billing.harness import ROOT, ApiClient

pytestmark = pytest.mark.postgres

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
    unsupported_method,
]


RESOURCES = ("plans", "subscribers", "subscriptions", "invoices", "payments")
# Without faults, which would change all other responses.
GENERATED = (
    *RESOURCES,
    "payment_methods",
    "refunds",
    "test_clock",
    "events",
    "webhook_endpoints",
    "webhook_deliveries",
    "requests",
    "stellar_payments",
    "stellar_transfers",
)


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("resource", GENERATED)
def test_every_response_conforms_to_the_document(
    api: ApiClient, resource: str, mode: GenerationMode
) -> None:
    document = schemathesis.openapi.from_url(f"{api.base_url}/openapi.json")
    for result in document.include(path_regex=f"^/v1/{resource}").get_all_operations():
        attempt(api, result.ok(), mode)


def attempt(api: ApiClient, operation: Any, mode: GenerationMode) -> None:
    """Call an operation with generated requests that are valid or invalid."""
    if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
        return

    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def call(case: schemathesis.Case) -> None:
        headers = {"Authorization": api.headers["Authorization"]}
        case.call_and_validate(headers=headers, checks=CHECKS)

    call()


def test_every_operation_is_documented(reader: ApiClient) -> None:
    document = reader.ok("GET", "/openapi.json")
    assert document["openapi"].startswith("3.1")
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    for resource in RESOURCES:
        lists, ones = f"/v1/{resource}", f"/v1/{resource}/{{id}}"
        assert operations.keys() >= {
            f"GET {lists}",
            f"POST {lists}",
            f"GET {ones}",
            f"PATCH {ones}",
        }
    for action in ("preview", "pause", "resume", "cancel"):
        assert f"POST /v1/subscriptions/{{id}}/{action}" in operations
    for action in ("finalize", "pay", "void", "write-off"):
        assert f"POST /v1/invoices/{{id}}/{action}" in operations
    for action in ("authenticate", "refund"):
        assert f"POST /v1/payments/{{id}}/{action}" in operations
    assert "POST /v1/payment_methods/{id}/detach" in operations
    assert operations.keys() >= {"GET /v1/test_clock", "POST /v1/test_clock"}
    for resource in ("webhook_endpoints", "faults"):
        assert f"DELETE /v1/{resource}/{{id}}" in operations
    for name, operation in operations.items():
        assert operation["summary"] and operation["description"], name
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)


def test_the_guide_names_every_resource_and_action(reader: ApiClient) -> None:
    page = (ROOT / "docs" / "billing-api.md").read_text()
    for path in reader.ok("GET", "/openapi.json")["paths"]:
        _, _, resource, *rest = path.split("/")
        assert f"`/v1/{resource}`" in page
        assert all(f"`{action}`" in page for action in rest[1:]), path
