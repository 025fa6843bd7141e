"""Exports of an API: a Postman collection, and an OpenAPI document with its server.

https://schema.postman.com/collection/json/v2.1.0/draft-07/docs/index.html
"""

from __future__ import annotations

import re
from typing import Any

from sandboxes.blueprints.auth import Auth, AuthType
from sandboxes.explorer.openapi.operations import Description, Operation, Parameter
from sandboxes.lib.untrusted_json import dumps_pretty

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"


def with_server(description: Description, address: str) -> dict[str, Any]:
    """Return the API's own document with the sandbox's URL as its server."""
    return {**description.document, "servers": [{"url": address}]}


def build_collection(
    description: Description, name: str, address: str, auth: Auth, secret: str
) -> dict[str, Any]:
    """Return a collection of all operations by group, with the secret in a variable."""
    variables = {"base_url": address}
    if auth.credential:
        variables[auth.credential] = secret
    return {
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
        "auth": _auth(auth),
    }


def _auth(auth: Auth) -> dict[str, Any]:
    """Return the authentication of all requests, with the name of the variable."""
    secret = f"{{{{{auth.credential}}}}}"
    match auth.type:
        case AuthType.BEARER:
            kind, values = "bearer", {"token": secret}
        case AuthType.HEADER:
            kind, values = "apikey", {"key": auth.name, "value": secret, "in": "header"}
        case AuthType.BASIC:
            kind, values = "basic", {"username": auth.username, "password": secret}
        case _:
            return {"type": "noauth"}
    attributes = [{"key": key, "value": value, "type": "string"} for key, value in values.items()]
    return {"type": kind, kind: attributes}


def _item(operation: Operation) -> dict[str, Any]:
    request: dict[str, Any] = {
        "method": operation.method,
        "header": [
            {"key": "Accept", "value": "application/json"},
            *(
                _value(one) | {"disabled": not one.required}
                for one in operation.parameters
                if one.location == "header"
            ),
        ],
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
