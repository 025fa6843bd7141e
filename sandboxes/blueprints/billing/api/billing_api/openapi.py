"""The OpenAPI document, generated from the operations that the router uses."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from inspect import getdoc
from typing import Any

import msgspec

from .resources.models import INVOICES, PAYMENTS, PLANS, SUBSCRIBERS, SUBSCRIPTIONS
from .web import Operation, ProblemDetails

DESCRIPTION = """\
Each sandbox has its own copy of this API, its own database, and its own API key.

- **Authentication**: send the API key from the portal as `Authorization: Bearer sk_test_…`.
- **Money** is a decimal string with a currency. **Times** are RFC 3339 in UTC.
- **Lists** are sorted newest first. Use `limit` and `next_cursor` for pagination.
- **Errors** are `application/problem+json`. A 422 names the invalid field.

All data is also in PostgreSQL, where you can read and change anything. A reset of the
sandbox restores the original data.
"""

TABLES = (PLANS, SUBSCRIBERS, SUBSCRIPTIONS, INVOICES, PAYMENTS)

ID_EXAMPLES = {
    "plans": "plan_team",
    "subscribers": "sub_001",
    "subscriptions": "sbn_001",
    "invoices": "inv_007",
    "payments": "pay_007",
}
"""Ids of seeded rows, used as examples."""

BODY_EXAMPLES = {
    "PlanChanges": {"name": "Team plus"},
    "NewSubscriber": {"name": "Ada Lovelace", "email": "ada@example.com", "country": "GB"},
    "SubscriberChanges": {"name": "Ada Lovelace"},
    "NewInvoice": {"subscriber_id": "sub_010", "amount": "49.00", "currency": "EUR"},
    "InvoiceChanges": {"description": "Consulting"},
    "PaymentChanges": {"status": "succeeded"},
}
"""Example bodies that are valid with the seed data, where field examples don't suffice."""

PROBLEM_DESCRIPTIONS = {
    "400": "The body is not valid JSON",
    "401": "The API key is missing or wrong",
    "404": "Not found",
    "409": "Conflict with the current state",
    "413": "The body is too large",
    "422": "Invalid field or parameter",
    "503": "The database is not available, for example during a reset",
}


@cache
def _document(operations: tuple[Operation, ...]) -> bytes:
    types = _all_types(operations)
    refs, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    schemas = dict(zip(types, refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = paths.setdefault(operation.path, {})
        path[operation.method.lower()] = _operation_object(operation, schemas, components)
    return msgspec.json.encode(_document_object(paths, components))


def specification(operations: list[Operation]) -> bytes:
    """Return the OpenAPI document as JSON."""
    return _document(tuple(operations))


def _document_object(paths: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": "Billing API", "version": "1", "description": DESCRIPTION},
        "security": [{"key": []}],
        "tags": [{"name": table.name, "description": getdoc(table.model)} for table in TABLES],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _all_types(operations: tuple[Operation, ...]) -> list[Any]:
    """Return all types of requests and responses, without duplicates."""
    types = [ProblemDetails]
    for operation in operations:
        types += filter(None, (operation.result, operation.body, operation.query))
    return list(dict.fromkeys(types))


def _operation_object(
    operation: Operation, schemas: dict[Any, Any], components: dict[str, Any]
) -> dict[str, Any]:
    operation_object: dict[str, Any] = {
        "operationId": _operation_id(operation),
        "summary": operation.summary,
        "description": getdoc(operation.handle),
        "tags": [operation.tag],
        "parameters": _parameters(operation, schemas, components),
        "responses": _responses(operation, schemas),
    }
    if operation.body:
        media = {"schema": schemas[operation.body]}
        if example := BODY_EXAMPLES.get(operation.body.__name__):
            media["example"] = example
        content = {"application/json": media}
        operation_object["requestBody"] = {"required": operation.body_required, "content": content}
    return operation_object


def _operation_id(operation: Operation) -> str:
    return operation.operation_id or operation.summary.lower().replace(" ", "_")


def _parameters(
    operation: Operation, schemas: dict[Any, Any], components: dict[str, Any]
) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    if "{id}" in operation.path:
        schema = {
            "type": "string",
            "pattern": "^[a-z0-9_]+$",
            "examples": [ID_EXAMPLES[operation.tag]],
        }
        parameters.append({"name": "id", "in": "path", "required": True, "schema": schema})
    if operation.query:
        name = schemas[operation.query]["$ref"].rpartition("/")[2]
        for field, schema in components.pop(name)["properties"].items():
            typed = {"type": "string", **schema}
            parameters.append({"name": field, "in": "query", "schema": typed})
    return parameters


def _responses(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schemas[operation.result]}}
    responses: dict[str, Any] = {
        str(operation.status): {"description": "Success", "content": content}
    }
    for status in _problem_statuses(operation):
        title = HTTPStatus(int(status)).phrase
        example = {"type": "about:blank", "title": title, "status": int(status), "detail": "…"}
        problem = {"schema": schemas[ProblemDetails], "example": example}
        responses[status] = {
            "description": PROBLEM_DESCRIPTIONS[status],
            "content": {"application/problem+json": problem},
        }
    return responses


def _problem_statuses(operation: Operation) -> list[str]:
    """Return the statuses of possible problems; a POST or PATCH can have all of them."""
    read_only = operation.method == "GET"
    statuses = ["401", "422", "503"] if read_only else list(PROBLEM_DESCRIPTIONS)
    if read_only and "{id}" in operation.path:
        statuses.append("404")
    return sorted(statuses)
