"""Exports of an API: a Postman collection, and an OpenAPI document with its server.

https://schema.postman.com/collection/json/v2.1.0/draft-07/docs/index.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sandboxes.explorer.openapi.operations import Description, Operation, Parameter
from sandboxes.lib.untrusted_json import dumps_pretty

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"


def with_server(description: Description, address: str) -> dict[str, Any]:
    """Return the API's own document with the sandbox's URL as its server."""
    return {**description.document, "servers": [{"url": address}]}


def build_collection(
    description: Description, name: str, address: str, bearer: Mapping[str, str]
) -> dict[str, Any]:
    """Return a collection of all operations by group; `bearer` maps the key's variable to it."""
    variables = {"base_url": address, **bearer}
    made: dict[str, Any] = {
        "info": {"name": name, "description": description.description, "schema": SCHEMA},
        "item": [
            {
                "name": group.name.replace("_", " ").capitalize(),
                "description": group.description,
                "item": [_item(one) for one in group.operations],
            }
            for group in description.groups
        ],
        "variable": [{"key": key, "value": value} for key, value in variables.items()],
    }
    for key in bearer:
        token = {"key": "token", "value": f"{{{{{key}}}}}", "type": "string"}
        made["auth"] = {"type": "bearer", "bearer": [token]}
    return made


def _item(operation: Operation) -> dict[str, Any]:
    request: dict[str, Any] = {
        "method": operation.method,
        "header": [{"key": "Accept", "value": "application/json"}],
        "url": _url(operation),
        "description": operation.description,
    }
    if operation.body:
        request["header"].append({"key": "Content-Type", "value": "application/json"})
        request["body"] = {
            "mode": "raw",
            "raw": dumps_pretty(operation.body.example),
            "options": {"raw": {"language": "json"}},
        }
    return {"name": operation.summary, "request": request, "response": []}


def _url(operation: Operation) -> dict[str, Any]:
    path = re.sub(r"\{([^{}]+)\}", r":\1", operation.path)
    by_location = {
        location: [p for p in operation.parameters if p.location == location]
        for location in PARAMETER_LOCATIONS
    }
    return {
        "raw": "{{base_url}}" + path,
        "host": ["{{base_url}}"],
        "path": path.strip("/").split("/"),
        "query": [_value(one) | {"disabled": not one.required} for one in by_location["query"]],
        "variable": [_value(one) for one in by_location["path"]],
    }


PARAMETER_LOCATIONS = ("path", "query")


def _value(parameter: Parameter) -> dict[str, Any]:
    return {
        "key": parameter.name,
        "value": parameter.example,
        "description": parameter.description,
    }
