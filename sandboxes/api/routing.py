"""A router whose operations refuse unknown and ambiguous query parameters."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest
from ninja import Router
from ninja.operation import Operation

from sandboxes.lib.exceptions import ValidationFailed

INTEGER = re.compile(r"-?[0-9]+")
"""Pydantic also reads `5.0`, `+5`, `1_0` and ` 5` as integers."""
MAP_KEY = re.compile(r"(?P<map>\w+)\[(?P<key>[^\[\]]+)\]")
"""A query parameter in the style `deepObject` of OpenAPI, such as `metadata[job]`."""


def map_parameter(name: str, description: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return `openapi_extra` for an operation with the query parameters `name[key]`."""
    schema = {"type": "object", "additionalProperties": values}
    parameter = {"in": "query", "name": name, "style": "deepObject", "explode": True}
    details = {"required": False, "description": description, "schema": schema}
    return {"parameters": [parameter | details]}


def read_map(request: HttpRequest, name: str) -> dict[str, str]:
    """Return the values of the query parameters `name[key]` by key."""
    found = ((MAP_KEY.fullmatch(each), value) for each, value in request.GET.items())
    return {key["key"]: str(value) for key, value in found if key and key["map"] == name}


class StrictRouter(Router):
    """A router whose operations refuse query parameters that they don't have, or twice.

    Integers must be written in digits only.
    """

    def add_api_operation(
        self, path: str, methods: list[str], view_func: Callable[..., Any], **options: Any
    ) -> None:
        """Add an operation."""
        super().add_api_operation(path, methods, view_func, **options)
        operation = self.path_operations[path].operations[-1]
        operation.view_func = _with_checked_query(view_func, operation)


def _with_checked_query(view: Callable[..., Any], operation: Operation) -> Callable[..., Any]:
    models = [one for one in operation.models if one.__ninja_param_source__ == "query"]
    names = [name for one in models for name in one.__ninja_flatten_map__]
    maps = [
        one["name"]
        for one in (operation.openapi_extra or {}).get("parameters", ())
        if one.get("style") == "deepObject"
    ]
    fields = {name: one.model_fields[name] for one in models for name in one.model_fields}
    integers = {field.alias or name for name, field in fields.items() if field.annotation is int}
    repeatable = {name for one in models for name in one.__ninja_collection_fields__}

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        for name, values in request.GET.lists():
            key = MAP_KEY.fullmatch(name)
            if name not in names and not (key and key["map"] in maps):
                known = ", ".join([*names, *(f"{one}[key]" for one in maps)]) or "none"
                raise ValidationFailed(
                    name, f"Unknown query parameter. This operation has {known}."
                )
            if len(values) > 1 and name not in repeatable:
                raise ValidationFailed(name, "Send this query parameter once.")
            if name in integers and not INTEGER.fullmatch(values[0]):
                raise ValidationFailed(name, "Must be an integer.")
        return view(request, *args, **kwargs)

    return wrapper
