"""The OpenAPI document, generated from the operations that the router uses."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from inspect import getdoc
from typing import Any, get_args

import msgspec

from .idempotency import HEADER, KEY
from .resources import models
from .resources.events import EVENTS
from .resources.faults import FAULTS
from .resources.models import (
    INVOICES,
    PAYMENT_METHODS,
    PAYMENTS,
    PLANS,
    REFUNDS,
    SUBSCRIBERS,
    SUBSCRIPTIONS,
)
from .resources.requests import REQUESTS
from .resources.stellar_payments import STELLAR_PAYMENTS, STELLAR_TRANSFERS
from .resources.test_clock import SandboxClock
from .resources.webhooks import WEBHOOK_DELIVERIES, WEBHOOK_ENDPOINTS
from .web import Operation, ProblemDetails

DESCRIPTION = """\
Each sandbox has its own copy of this API, its own database, and its own API key.

- **Authentication**: send the API key from the portal as `Authorization: Bearer sk_test_…`.
- **Money** is a decimal string with a currency. **Times** are RFC 3339 in UTC.
- **Lists** are sorted newest first. Use `limit` and `next_cursor` for pagination.
- **Errors** are `application/problem+json`. A 422 names the invalid field.
- **Repetitions**: a POST or PATCH with an `Idempotency-Key` runs once.
- **Tracing**: every response has a `Request-Id`, the one you sent or a new one, as in the log.

All data is also in PostgreSQL, where you can read and change anything. A reset of the
sandbox restores the original data.

The parameter `scenario` of a launch chooses this data:

| scenario | data |
|---|---|
| `standard` | 5 plans, 10 subscribers, 20 invoices, in every status. The default. |
| `empty` | The plans only. |
| `dunning` | Also 12 subscribers with failed payments; ten of them are past due. |
| `large` | Also 1,000 subscribers with 3,000 invoices. |
"""

INFO = {
    "title": "Billing API",
    "version": "1",
    "summary": "Plans, subscribers, subscriptions, invoices and payments of a sandbox.",
    "description": DESCRIPTION,
    "contact": {"name": "The operators of your sandbox portal"},
    "license": {"name": "Proprietary", "identifier": "LicenseRef-Proprietary"},
}

TABLES = (
    PLANS,
    SUBSCRIBERS,
    SUBSCRIPTIONS,
    INVOICES,
    PAYMENTS,
    PAYMENT_METHODS,
    REFUNDS,
    EVENTS,
    WEBHOOK_ENDPOINTS,
    WEBHOOK_DELIVERIES,
    FAULTS,
    REQUESTS,
    STELLAR_PAYMENTS,
    STELLAR_TRANSFERS,
)
TAGS = {table.name: getdoc(table.model) for table in TABLES} | {"test_clock": getdoc(SandboxClock)}

ENUMS = {
    name: get_args(getattr(models, name))
    for name in (
        "BillingInterval",
        "Currency",
        "InvoiceStatus",
        "LineType",
        "PaymentMethod",
        "PaymentOutcome",
        "PaymentStatus",
        "SettlementOutcome",
        "SubscriptionStatus",
        "TestValue",
    )
}
"""Choices that several places share; generated clients have one type for each."""

EXAMPLE_IDS = {
    "getPlan": "plan_team",
    "updatePlan": "plan_team",
    "getSubscriber": "sub_001",
    "updateSubscriber": "sub_001",
    "getSubscription": "sbn_001",
    "updateSubscription": "sbn_005",
    "previewSubscription": "sbn_010",
    "pauseSubscription": "sbn_001",
    "resumeSubscription": "sbn_006",
    "cancelSubscription": "sbn_007",
    "getInvoice": "inv_007",
    "updateInvoice": "inv_008",
    "finalizeInvoice": "inv_008",
    "payInvoice": "inv_011",
    "voidInvoice": "inv_018",
    "writeOffInvoice": "inv_016",
    "getPayment": "pay_007",
    "updatePayment": "pay_007",
    "authenticatePayment": "pay_022",
    "refundPayment": "pay_001",
    "getPaymentMethod": "pm_001",
    "updatePaymentMethod": "pm_002",
    "detachPaymentMethod": "pm_009",
    "getRefund": "ref_001",
    "getEvent": "evt_000000001",
    "getWebhookEndpoint": "whe_001",
    "updateWebhookEndpoint": "whe_001",
    "rotateWebhookSecret": "whe_001",
    "deleteWebhookEndpoint": "whe_002",
    "getWebhookDelivery": "whd_001",
    "getFault": "flt_001",
    "deleteFault": "flt_002",
    "getRequest": "log_000000001",
    "getStellarPayment": "stp_001",
    "lookUpStellarPayment": "stp_001",
    "getStellarTransfer": "stt_001",
}
"""Seeded rows whose status allows the operation, whichever examples were sent before."""

EXAMPLE_BODIES = {
    "createPlan": {"name": "Enterprise", "amount": "49.00", "currency": "AUD"},
    "updatePlan": {"name": "Team plus"},
    "createSubscriber": {"name": "Ada Lovelace", "email": "ada@example.com", "country": "GB"},
    "updateSubscriber": {"name": "Ada Lovelace"},
    "createSubscription": {"subscriber_id": "sub_010", "plan_id": "plan_team"},
    "updateSubscription": {"cancel_at_period_end": True},
    "previewSubscription": {"plan_id": "plan_starter"},
    "cancelSubscription": {"at_period_end": False},
    "createInvoice": {"subscriber_id": "sub_010", "amount": "49.00", "currency": "EUR"},
    "updateInvoice": {"description": "Consulting"},
    "payInvoice": {"method": "card"},
    "createPayment": {"invoice_id": "inv_020", "method": "card", "status": "succeeded"},
    "updatePayment": {"status": "succeeded"},
    "authenticatePayment": {"outcome": "failed"},
    "refundPayment": {"amount": "9.00", "reason": "A week without service"},
    "createPaymentMethod": {"subscriber_id": "sub_010", "test_value": "succeeds"},
    "updatePaymentMethod": {"is_default": True},
    "changeTestClock": {"freeze": True},
    "createEvent": {"type": "invoice.paid", "object_id": "inv_001"},
    "createWebhookEndpoint": {"url": "https://example.com/webhooks", "event_types": ["invoice.*"]},
    "updateWebhookEndpoint": {"event_types": ["invoice.paid", "subscription.*"]},
    "rotateWebhookSecret": {"keep_hours": 24},
    "recordWebhookDelivery": {
        "endpoint_id": "whe_001",
        "event_id": "evt_000000001",
        "response_status": 204,
    },
    "createStellarPayment": {"invoice_id": "inv_016"},
    "lookUpStellarPayment": {"transaction_hash": "0" * 64},
    "reportStellarTransfers": {"problem": "The portal can't reach Stellar's network now."},
    "createFault": {"path": "/v1/plans", "latency_ms": 50, "seconds": 10},
}

PROBLEMS = {
    "400": ("BadRequest", "The body is not valid JSON"),
    "401": ("Unauthorized", "The API key is missing or wrong"),
    "404": ("NotFound", "Not found"),
    "409": ("Conflict", "Conflict with the current state"),
    "413": ("TooLarge", "The body is too large"),
    "422": ("Invalid", "Invalid field or parameter"),
    "503": ("Unavailable", "The database is not available, for example during a reset"),
}

MAPS = ("metadata",)
"""Parameters with keys, such as `metadata[order]`."""

HEADERS = {
    "RequestId": ("The id that you sent, or a new one", {"type": "string"}, True),
    "Location": ("Path of the new resource", {"type": "string"}, True),
    "IdempotentReplayed": (
        "The response is that of an earlier request with this key",
        {"type": "string", "const": "true"},
        False,
    ),
    "RetryAfter": ("Seconds after which to try again", {"type": "integer"}, True),
    "WWWAuthenticate": ("The challenge of RFC 6750", {"type": "string"}, True),
}

IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "description": "A key that you make up for one change, such as a UUID. Repeating the request"
    " with the same key and body returns the first response, for 24 hours or until a reset.",
    "schema": {"type": "string", "maxLength": 255, "pattern": f"^{KEY.pattern}$"},
}


def specification(operations: list[Operation]) -> bytes:
    """Return the OpenAPI document as JSON."""
    return _document(tuple(operations))


@cache
def _document(operations: tuple[Operation, ...]) -> bytes:
    types = _all_types(operations)
    refs, schemas = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    by_type = dict(zip(types, refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = paths.setdefault(operation.path, {})
        path[operation.method.lower()] = _operation_object(operation, by_type, schemas)
    for body in {operation.body for operation in operations if operation.body}:
        _describe_defaults(schemas[body.__name__])
    schemas |= {name: {"type": "string", "enum": values} for name, values in ENUMS.items()}
    document = {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [{"url": "/", "description": "This sandbox"}],
        "security": [{"key": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": {"IdempotencyKey": IDEMPOTENCY_KEY},
            "headers": {name: _header_object(*parts) for name, parts in HEADERS.items()},
            "responses": {
                name: _problem_object(status, description, by_type[ProblemDetails])
                for status, (name, description) in PROBLEMS.items()
            },
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The API key of the sandbox, from its card in the portal.",
                }
            },
        },
    }
    return msgspec.json.encode(_tidy(document))


def _all_types(operations: tuple[Operation, ...]) -> list[Any]:
    """Return all types of requests and responses, without duplicates."""
    types = [ProblemDetails]
    for operation in operations:
        types += filter(None, (operation.result, operation.body, operation.query))
    return list(dict.fromkeys(types))


def _operation_object(
    operation: Operation, by_type: dict[Any, Any], schemas: dict[str, Any]
) -> dict[str, Any]:
    operation_object: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": getdoc(operation.handle),
        "tags": [operation.tag],
        "parameters": _parameters(operation, by_type, schemas),
        "responses": _responses(operation, by_type),
    }
    if operation.body:
        media = {"schema": by_type[operation.body], "example": EXAMPLE_BODIES[operation.id]}
        content = {"application/json": media}
        operation_object["requestBody"] = {"required": operation.body_required, "content": content}
    return operation_object


def _parameters(
    operation: Operation, by_type: dict[Any, Any], schemas: dict[str, Any]
) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    if "{id}" in operation.path:
        parameters.append(
            {
                "name": "id",
                "in": "path",
                "required": True,
                "description": f"Id from the list of {operation.tag}",
                "schema": {"type": "string", "pattern": models.ID_PATTERN},
                "example": EXAMPLE_IDS[operation.id],
            }
        )
    if operation.query:
        name = by_type[operation.query]["$ref"].rpartition("/")[2]
        for field, schema in schemas.pop(name)["properties"].items():
            style = {"style": "deepObject", "explode": True} if field in MAPS else {}
            parameters.append({"name": field, "in": "query", "schema": schema, **style})
    if operation.method != "GET":
        parameters.append({"$ref": "#/components/parameters/IdempotencyKey"})
    return parameters


def _responses(operation: Operation, by_type: dict[Any, Any]) -> dict[str, Any]:
    headers = {"Request-Id": "RequestId"}
    if operation.status == HTTPStatus.CREATED:
        headers["Location"] = "Location"
    if operation.method != "GET":
        headers["Idempotent-Replayed"] = "IdempotentReplayed"
    success = {
        "description": "Created" if operation.status == HTTPStatus.CREATED else "Success",
        "headers": _header_refs(headers),
        "content": {"application/json": {"schema": by_type[operation.result]}},
    }
    problems = {
        status: {"$ref": f"#/components/responses/{PROBLEMS[status][0]}"}
        for status in _problem_statuses(operation)
    }
    return {str(operation.status): success, **problems}


def _problem_statuses(operation: Operation) -> list[str]:
    """Return the statuses of possible problems."""
    statuses = ["401", "422", "503"]
    if operation.method != "GET":
        statuses += ["400", "409", "413"]
    if "{id}" in operation.path:
        statuses.append("404")
    return sorted(statuses)


def _problem_object(status: str, description: str, schema: Any) -> dict[str, Any]:
    title = HTTPStatus(int(status)).phrase
    example = {"type": "about:blank", "title": title, "status": int(status), "detail": "…"}
    headers = {"Request-Id": "RequestId"}
    if status == "401":
        headers["WWW-Authenticate"] = "WWWAuthenticate"
    if status == "503":
        headers["Retry-After"] = "RetryAfter"
    return {
        "description": description,
        "headers": _header_refs(headers),
        "content": {"application/problem+json": {"schema": schema, "example": example}},
    }


def _header_object(description: str, schema: dict[str, Any], required: bool) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": schema}


def _header_refs(headers: dict[str, str]) -> dict[str, Any]:
    return {
        name: {"$ref": f"#/components/headers/{component}"} for name, component in headers.items()
    }


def _describe_defaults(schema: dict[str, Any]) -> None:
    """Say in words what an omitted property of a request stands for.

    Generators of TypeScript clients make a property with a `default` a required one.
    """
    for field in schema["properties"].values():
        default = field.pop("default", None)
        if default not in (None, ""):
            shown = default if isinstance(default, str) else msgspec.json.encode(default).decode()
            parts = (field.get("description"), f"defaults to `{shown}`")
            field["description"] = "; ".join(filter(None, parts)).capitalize()


def _tidy(node: Any) -> Any:
    """Return a copy with references to enums, and with patterns of ECMAScript."""
    if isinstance(node, list):
        return [_tidy(one) for one in node]
    if isinstance(node, dict):
        return {key: _tidy(value) for key, value in _with_enum_ref(node).items()}
    return node.replace(r"\Z", "$") if isinstance(node, str) else node


def _with_enum_ref(node: dict[str, Any]) -> dict[str, Any]:
    choices = node.get("enum")
    for name, values in ENUMS.items():
        if "type" not in node and isinstance(choices, list) and {*choices} == {*values}:
            rest = {key: value for key, value in node.items() if key != "enum"}
            return {"$ref": f"#/components/schemas/{name}", **rest}
    return node
