"""The OpenAPI description, with what django-ninja leaves out: problems and headers."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, URLResolver, re_path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

from sandboxes.api import problems
from sandboxes.api.webhook_schemas import Message
from sandboxes.models import EventType
from sandboxes.representations import schemas

COMMON_STATUSES = (401, 403, 429, 500, 503)
"""What every operation may answer."""
PROBLEM_SCHEMAS: dict[int, type[schemas.Problem]] = {
    422: schemas.InvalidProblem,
    429: schemas.QuotaProblem,
}

_TEXT = {"type": "string"}
_SECONDS = {"type": "integer"}
HEADERS: dict[int, dict[str, dict[str, str]]] = {
    401: {"WWW-Authenticate": _TEXT},
    429: {"Retry-After": _SECONDS, "RateLimit": _TEXT, "RateLimit-Policy": _TEXT},
    503: {"Retry-After": _SECONDS},
}
OPERATION_HEADERS: dict[tuple[str, int], dict[str, dict[str, str]]] = {
    ("launch_sandbox", 201): {
        "Location": _TEXT,
        "Preference-Applied": _TEXT,
        "Idempotent-Replayed": _TEXT,
    },
    ("list_sandboxes", 200): {"Link": _TEXT},
    ("list_events", 200): {"Link": _TEXT},
    ("list_deliveries", 200): {"Link": _TEXT},
    ("create_webhook", 201): {"Location": _TEXT},
}
OPTIONAL_HEADERS = {"Preference-Applied", "Idempotent-Replayed", "Link"}

View = Callable[..., HttpResponse]


def responses(status: int, body: Any, *failures: int) -> dict[int, Any]:
    """The `response` of an operation: its answer, these problems, and those of all operations."""
    codes = sorted({*failures, *COMMON_STATUSES})
    return {status: body} | {code: PROBLEM_SCHEMAS.get(code, schemas.Problem) for code in codes}


class PortalAPI(NinjaAPI):
    """An API whose problems are problems everywhere, in the description too."""

    def get_openapi_operation_id(self, operation: Any) -> str:
        return str(operation.view_func.__name__)

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        described = super().get_openapi_schema(**options)
        for path in described["paths"].values():
            for operation in path.values():
                for status, answer in operation["responses"].items():
                    _add_problem_and_headers(operation["operationId"], status, answer)
        described["webhooks"] = _webhook_paths(described["components"]["schemas"])
        return described

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        patterns, app_name, namespace = super().urls
        for pattern in patterns:
            if isinstance(pattern, URLPattern):
                pattern.callback = _with_problem_responses(pattern.callback)
        # The last pattern is django-ninja's own for the root, which is there to be reversed.
        patterns.insert(-1, re_path("", _not_found))
        return patterns, app_name, namespace


def _webhook_paths(known: dict[str, Any]) -> dict[str, Any]:
    """What webhooks are told, as OpenAPI 3.1 describes it; its schema joins the known ones."""
    message = Message.model_json_schema(ref_template="#/components/schemas/{model}")
    inside = message.pop("$defs")
    known |= {name: schema for name, schema in inside.items() if name not in known}
    known["Message"] = message
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Message"}}}
    headers = [
        {"name": name, "in": "header", "required": True, "schema": _TEXT}
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    ]
    return {
        kind.value: {
            "post": {
                "summary": str(kind.label).capitalize(),
                "parameters": headers,
                "requestBody": {"required": True, "content": content},
                "responses": {"2XX": {"description": "It was taken; anything else comes again."}},
            }
        }
        for kind in EventType
    }


def _add_problem_and_headers(operation: str, status: int, answer: dict[str, Any]) -> None:
    if status >= HTTPStatus.BAD_REQUEST:
        answer["content"] = {problems.CONTENT_TYPE: answer["content"]["application/json"]}
    headers = HEADERS.get(status, {}) | OPERATION_HEADERS.get((operation, status), {})
    if headers:
        answer["headers"] = {
            name: {"schema": schema, "required": name not in OPTIONAL_HEADERS}
            for name, schema in headers.items()
        }


@csrf_exempt
def _not_found(request: HttpRequest) -> HttpResponse:
    return problems.not_found(request)


def _with_problem_responses(view: View) -> View:
    """The view, with its plain-text answer to a wrong method made a problem."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        if isinstance(response, HttpResponseNotAllowed):
            allowed = ", ".join(sorted(response["Allow"].split(", ")))
            detail = f"{request.method} does nothing here; use {allowed}."
            return problems.problem(
                HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed}
            )
        return response

    return answer
