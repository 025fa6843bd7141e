"""What happens before a view is called."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse

from sandboxes.models.tuning import settings

Handler = Callable[[HttpRequest], HttpResponse]

WITHOUT_DATABASE = {"favicon", "healthz", "openapi-json", "openapi-view", "robots"}
"""Names of addresses that answer whatever the database does."""


class RealAddress:
    """Has REMOTE_ADDR say who asks, also behind proxies; nobody else reads what they forwarded.

    Each proxy appends the address it was asked from, so the last `TRUSTED_PROXY_COUNT` entries are
    theirs. Whatever stands before them a client may have sent. Fewer entries than proxies mean that
    a request came round them: then its peer is who asks.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        forwarded = request.META.pop("HTTP_X_FORWARDED_FOR", "").split(",")
        proxies = settings.TRUSTED_PROXY_COUNT
        if 0 < proxies <= len(forwarded) and (address := _address(forwarded[-proxies])):
            request.META["REMOTE_ADDR"] = address
        return self.get_response(request)


def _address(text: str) -> str:
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        return ""


class SandboxInLogs:
    """Has every line that a request logs say which sandbox it is about, and who asks from where."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        structlog.contextvars.bind_contextvars(ip=request.META.get("REMOTE_ADDR"))
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
