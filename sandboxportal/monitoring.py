"""Health checks and metrics on a listener of their own, for programs on the same machine.

Probes and Prometheus send any host name and no TLS, which the pages refuse. So requests that arrive
at `MONITORING_PORT` skip all middleware, and get nothing but these three paths.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.urls import path

from sandboxes.metrics import health

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django's signature
    text = "This listener has /healthz, /readyz and /metrics.\n"
    return HttpResponse(text, content_type="text/plain", status=404)


handler404 = not_found
handler500 = "sandboxportal.server_errors.server_error"
urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
]


class MonitoringRequest(WSGIRequest):
    """A request for one of these paths. No user is signed in: `/metrics` asks for METRICS_TOKEN."""

    urlconf = __name__

    def __init__(self, environ: dict[str, Any]) -> None:
        super().__init__(environ)
        self.user = AnonymousUser()


class MonitoringHandler(WSGIHandler):
    """Django's handler without middleware."""

    request_class = MonitoringRequest

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: ARG002 - Django's signature
        """Load nothing."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        self._middleware_chain = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]


def with_monitoring(pages: Application) -> Application:
    """Return an application that serves monitoring at its port, and pages at all others."""
    port = os.environ.get("MONITORING_PORT", "")
    if not port:
        return pages
    monitoring = MonitoringHandler()

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # Gunicorn takes this from the socket, so clients can't choose it.
        chosen = monitoring if environ["SERVER_PORT"] == port else pages
        return chosen(environ, start_response)

    return application
