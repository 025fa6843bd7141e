"""What happens before a view is called."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import structlog
from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from sandboxes.models.runtime_settings import config

Handler = Callable[[HttpRequest], HttpResponse]

WITHOUT_DATABASE = {"favicon", "healthz", "openapi-json", "openapi-view", "robots"}
"""Names of addresses that answer whatever the database does."""


class ClientIPMiddleware:
    """Has REMOTE_ADDR say who asks, also behind proxies; nobody else reads what they forwarded.

    Each proxy appends the address it was asked from, so the last `TRUSTED_PROXY_COUNT` entries are
    theirs. Whatever stands before them a client may have sent. Fewer entries than proxies mean that
    a request came round them: then its peer is who asks.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        forwarded = request.META.pop("HTTP_X_FORWARDED_FOR", "").split(",")
        proxies = config.TRUSTED_PROXY_COUNT
        if 0 < proxies <= len(forwarded) and (address := _parse_address(forwarded[-proxies])):
            request.META["REMOTE_ADDR"] = address
        return self.get_response(request)


def _parse_address(text: str) -> str:
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        return ""


class NoStoreMiddleware:
    """Has no cache keep an answer whose view says nothing about it: most are one person's."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


class LogContextMiddleware:
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


class RuntimeSettingsMiddleware:
    """Has the settings in force read again, if that was a while ago."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: object) -> None:
        match = request.resolver_match
        if match and match.url_name not in WITHOUT_DATABASE:
            config.refresh()


class ExternalRedirectMiddleware:
    """Leads to a provider of sign-ins by a page instead of by a redirect.

    Chromium holds a form to `form-action` on its redirects, too, and a provider may send people on
    to hosts that nobody here knows of. A page that leaves is no form.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        target = getattr(response, "url", "")  # Redirects alone have one.
        if request.method != "POST" or urlsplit(target).netloc in ("", request.get_host()):
            return response
        return render(request, "socialaccount/login_redirect.html", {"redirect_to": target})


class RequireOperatorMFAMiddleware:
    """Has operators set up a second factor before anything of the console is shown to them."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_arguments: object) -> HttpResponse | None:
        if not config.OPERATORS_REQUIRE_MFA or not _is_admin(request):
            return None
        user = request.user
        if not user.is_authenticated or not user.is_staff or is_mfa_enabled(user):
            return None
        notice = "Operators need two-factor authentication. Set it up to continue."
        messages.warning(request, notice)
        return redirect("mfa_activate_totp")


def _is_admin(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and (match.app_name == "admin" or match.url_name == "metrics")
