"""HTTP methods of the API: HEAD for every GET, OPTIONS, and a problem for the others."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

from sandboxes.api import problems

View = Callable[..., HttpResponse]


def answer_every_method(view: View) -> View:
    """Wrap a view that responds to methods it doesn't have with HttpResponseNotAllowed."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "HEAD":
            return _respond(view, request, *args, **kwargs)
        request.method = "GET"
        response = _respond(view, request, *args, **kwargs)
        request.method = "HEAD"
        response["Content-Length"] = str(len(response.content))
        response.content = b""
        return response

    return wrapper


def _respond(view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    response = view(request, *args, **kwargs)
    if not isinstance(response, HttpResponseNotAllowed):
        return response
    methods = {*response["Allow"].split(", "), "OPTIONS"}
    allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
    if request.method == "OPTIONS":
        return HttpResponse(status=HTTPStatus.NO_CONTENT, headers={"Allow": allowed})
    detail = f"Method {request.method} not allowed. Use {allowed}."
    return problems.problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed})
