"""What happens before a view is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse

from sandboxes.models.tuning import settings

Handler = Callable[[HttpRequest], HttpResponse]

WITHOUT_DATABASE = {"favicon", "healthz", "openapi-json", "openapi-view", "robots"}
"""Names of addresses that answer whatever the database does."""


class SandboxInLogs:
    """Has every line that a request logs say which sandbox it is about."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, _request: HttpRequest, _view: object, _arguments: object, named: dict[str, Any]
    ) -> None:
        if name := named.get("public_id") or named.get("sandbox_id"):
            structlog.contextvars.bind_contextvars(sandbox=name)


class FreshSettings:
    """Has the settings in force read again, if that was a while ago."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: object) -> None:
        match = request.resolver_match
        if match and match.url_name not in WITHOUT_DATABASE:
            settings.refresh()
