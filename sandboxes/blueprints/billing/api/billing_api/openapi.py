"""The OpenAPI document, made from the same operations that the router uses."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import msgspec

from .web import Operation, ProblemDetails

DESCRIPTION = """\
Every sandbox has its own copy of this API, of the database under it and of the key.

- **Key**: `Authorization: Bearer sk_test_…`, as the portal shows it.
- **Money** is a decimal string with its currency; **times** are RFC 3339 in UTC.
- **Lists** come newest first: `limit` rows, and `next_cursor` to go on with.
- **Errors** are `application/problem+json`; a 422 names the field.

Everything here also stands in PostgreSQL, where you may do as you like. Resetting the
sandbox puts all of it back.
"""

PROBLEMS = {
    "400": "The body is no JSON",
    "401": "The key is missing or wrong",
    "404": "There is no such thing",
    "409": "Not in the state that the thing is in",
    "413": "The body is too large",
    "422": "A field or parameter can't be taken as it is",
    "503": "The database doesn't answer, for instance while it is reset",
}


@cache
def _document(operations: tuple[Operation, ...]) -> bytes:
    types = _types(operations)
    refs, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    schemas = dict(zip(types, refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = paths.setdefault(operation.path, {})
        path[operation.method.lower()] = _describe(operation, schemas, components)
    return msgspec.json.encode(_around(paths, components))


def specification(operations: list[Operation]) -> bytes:
    """The document as JSON."""
    return _document(tuple(operations))


def _around(paths: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": "Billing API", "version": "1", "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _types(operations: tuple[Operation, ...]) -> list[Any]:
    """Every type that occurs, each once."""
    found = [ProblemDetails]
    for operation in operations:
        found += filter(None, (operation.answer, operation.body, operation.query))
    return list(dict.fromkeys(found))


def _describe(
    operation: Operation, schemas: dict[Any, Any], components: dict[str, Any]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _operation_id(operation),
        "summary": operation.summary,
        "description": inspect.getdoc(operation.handle) or operation.summary,
        "tags": [operation.tag],
        "parameters": _parameters(operation, schemas, components),
        "responses": _responses(operation, schemas),
    }
    if operation.body:
        content = {"application/json": {"schema": schemas[operation.body]}}
        described["requestBody"] = {"required": operation.body_required, "content": content}
    return described


def _operation_id(operation: Operation) -> str:
    return operation.summary.lower().replace(",", "").replace(" ", "_")


def _parameters(
    operation: Operation, schemas: dict[Any, Any], components: dict[str, Any]
) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    if "{id}" in operation.path:
        schema = {"type": "string", "pattern": "^[a-z0-9_]+$"}
        parameters.append({"name": "id", "in": "path", "required": True, "schema": schema})
    if operation.query:
        name = schemas[operation.query]["$ref"].rpartition("/")[2]
        for field, schema in components.pop(name)["properties"].items():
            parameters.append({"name": field, "in": "query", "schema": _not_null(schema)})
    return parameters


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is absent is None to us; nobody can send null in a query."""
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    if schema.get("default") not in (None, ""):
        rest["default"] = schema["default"]
    if "enum" in rest:
        rest["enum"] = [value for value in rest["enum"] if value is not None]
    return {**rest, **(options[0] if options else {})}


def _responses(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schemas[operation.answer]}}
    responses: dict[str, Any] = {str(operation.status): {"description": "Done", "content": content}}
    problem = {"application/problem+json": {"schema": schemas[ProblemDetails]}}
    for status in _problems(operation):
        responses[status] = {"description": PROBLEMS[status], "content": problem}
    return responses


def _problems(operation: Operation) -> list[str]:
    """The problems that an operation can have; a POST or PATCH can have them all."""
    reading = operation.method == "GET"
    found = ["401", "422", "503"] if reading else list(PROBLEMS)
    if reading and "{id}" in operation.path:
        found.append("404")
    return sorted(found)
