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
    fields = {name: one.model_fields[name] for one in models for name in one.model_fields}
    integers = {field.alias or name for name, field in fields.items() if field.annotation is int}
    repeatable = {name for one in models for name in one.__ninja_collection_fields__}

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        for name, values in request.GET.lists():
            if name not in names:
                known = ", ".join(names) or "none"
                raise ValidationFailed(
                    name, f"Unknown query parameter. This operation has {known}."
                )
            if len(values) > 1 and name not in repeatable:
                raise ValidationFailed(name, "Send this query parameter once.")
            if name in integers and not INTEGER.fullmatch(values[0]):
                raise ValidationFailed(name, "Must be an integer.")
        return view(request, *args, **kwargs)

    return wrapper
