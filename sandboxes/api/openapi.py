"""The OpenAPI document, with problem responses and headers that django-ninja leaves out."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, URLResolver, re_path
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase
from ninja.openapi.schema import OpenAPISchema

from sandboxes.api import problems
from sandboxes.api.methods import answer_every_method
from sandboxes.api.root import api_root, unknown_path
from sandboxes.api.webhooks.endpoint_schemas import Message
from sandboxes.models import EventType
from sandboxes.representations import schemas

COMMON_STATUSES = (401, 403, 422, 429, 500, 503)
"""Status codes that every operation may respond with."""
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


def responses(status: int, body: Any, *failures: int) -> dict[int, Any]:
    """Return the `response` of an operation: success, these problems, and the common ones."""
    codes = sorted({*failures, *COMMON_STATUSES})
    return {status: body} | {code: PROBLEM_SCHEMAS.get(code, schemas.Problem) for code in codes}


class ReferencePage(DocsBase):
    """The document as a page of the portal."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **path: Any) -> HttpResponse:
        """Show all operations, which a signed-in user may try."""
        url = self.get_openapi_url(api, path)
        context = {"title": "Portal API", "specification_url": url}
        return render(request, "documentation/api_reference.html", context)


class PortalAPI(NinjaAPI):
    """An API whose errors are all `application/problem+json`, in its OpenAPI document too."""

    def create_response(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        """Return the response; status 304 if the client has the same, by its `If-None-Match`."""
        response: HttpResponse = super().create_response(request, *args, **options)
        if request.method not in ("GET", "HEAD") or response.status_code != HTTPStatus.OK:
            return response
        etag = f'W/"{hashlib.sha256(response.content).hexdigest()[:32]}"'
        response["ETag"] = etag
        found = get_conditional_response(request, etag=etag, response=response)
        assert isinstance(found, HttpResponse)
        return found

    def get_openapi_operation_id(self, operation: Any) -> str:
        """Return the name of the view function."""
        return str(operation.view_func.__name__)

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the OpenAPI document with problems, headers and webhooks."""
        document = super().get_openapi_schema(**options)
        for path in document["paths"].values():
            for operation in path.values():
                for status, response in operation["responses"].items():
                    _add_problem_and_headers(operation["operationId"], status, response)
        document["webhooks"] = _webhook_paths(document["components"]["schemas"])
        return document

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        """URL patterns that answer every method, and with problems only."""
        patterns, app_name, namespace = super().urls
        for pattern in patterns:
            if isinstance(pattern, URLPattern):
                if pattern.name == "api-root":
                    pattern.callback = api_root
                elif pattern.name in ("openapi-json", "openapi-view"):
                    pattern.callback = require_safe(pattern.callback)
                pattern.callback = answer_every_method(pattern.callback)
        patterns.append(re_path("", answer_every_method(unknown_path), name="unknown-path"))
        return patterns, app_name, namespace


def _webhook_paths(components: dict[str, Any]) -> dict[str, Any]:
    """Return the webhooks of the document (OpenAPI 3.1), and add their schemas."""
    message = Message.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = message.pop("$defs")
    components |= {name: schema for name, schema in definitions.items() if name not in components}
    components["Message"] = message
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Message"}}}
    headers = [
        {"name": name, "in": "header", "required": True, "schema": _TEXT}
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    ]
    return {
        event_type.value: {
            "post": {
                "operationId": f"receive_{event_type.value.replace('.', '_')}",
                "tags": ["Webhooks"],
                # Messages are signed; see the parameters.
                "security": [],
                "summary": str(event_type.label).capitalize(),
                "parameters": headers,
                "requestBody": {"required": True, "content": content},
                "responses": {"2XX": {"description": "Received. Other responses are retried."}},
            }
        }
        for event_type in EventType
    }


def _add_problem_and_headers(operation: str, status: int, response: dict[str, Any]) -> None:
    if status >= HTTPStatus.BAD_REQUEST:
        response["content"] = {problems.CONTENT_TYPE: response["content"]["application/json"]}
    headers = HEADERS.get(status, {}) | OPERATION_HEADERS.get((operation, status), {})
    if headers:
        response["headers"] = {
            name: {"schema": schema, "required": name not in OPTIONAL_HEADERS}
            for name, schema in headers.items()
        }
