"""Middleware: client addresses, caching, logs, settings, redirects, sign-in, full disks."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import structlog
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import redirect, render
from django_structlog.middlewares import RequestMiddleware

from sandboxes.accounts import known_browsers, sessions
from sandboxes.core import disk_reserve
from sandboxes.gateway.access import FORWARDED_COOKIES
from sandboxes.models.runtime_settings import config

Handler = Callable[[HttpRequest], HttpResponse]

REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
WITHOUT_DATABASE = {
    "api-root",
    "favicon",
    "healthz",
    "logo",
    "openapi-json",
    "openapi-view",
    "robots",
}
"""Names of URLs that must respond without the database."""


class ClientIPMiddleware:
    """Sets REMOTE_ADDR to the client's address behind trusted proxies.

    Each proxy appends the address of its peer to X-Forwarded-For, so the last
    `TRUSTED_PROXY_COUNT` entries can be trusted; a client may have sent the ones before them. If
    there are fewer entries than proxies, the request bypassed them and REMOTE_ADDR is kept. The
    header is removed so that no other code reads it.
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


class SandboxCookiesMiddleware:
    """Keeps cookies of sandboxes' hosts, which the gateway sends, away from the portal's session.

    A sandbox's own session cookie may have the same name as the portal's.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/gateway/"):
            request.META[FORWARDED_COOKIES] = request.META.pop("HTTP_COOKIE", "")
        return self.get_response(request)


class RequestIDMiddleware:
    """Takes over the id of the request from X-Request-ID, or makes one, and returns it.

    It is part of every log line of the request and of the tasks that the request sends. An id that
    isn't short and plain is replaced, so that clients can't write anything else into logs.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        request.META["HTTP_X_REQUEST_ID"] = request_id
        response = self.get_response(request)
        response.headers["X-Request-ID"] = request_id
        return response


class RequestLogMiddleware(RequestMiddleware):
    """Logs requests without their query, which may contain a token."""

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        return f"{request.method} {request.path}"


class NoStoreMiddleware:
    """Forbids caching of responses without a Cache-Control header; most belong to one user."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


class CompressionMiddleware(GZipMiddleware):
    """Compresses responses of the REST API to programs.

    Responses to a browser with cookies stay as they are: from the size of one that contains a
    secret and a text of an attacker's choice, the secret could be guessed (BREACH).
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        has_cookies = bool(request.META.get("HTTP_COOKIE"))
        if response.streaming or has_cookies or not request.path_info.startswith("/api/"):
            return response
        return super().process_response(request, response)


class DiskReserveMiddleware:
    """Frees the reserved space if the disk is full, before the request uses the database."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        disk_reserve.release_if_full()
        return self.get_response(request)


class LogContextMiddleware:
    """Adds the client's address and the sandbox's id to the log lines of a request."""

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
    """Reloads the runtime settings if they were loaded some seconds ago."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: object) -> None:
        match = request.resolver_match
        if match and match.url_name not in WITHOUT_DATABASE:
            config.refresh()


class ExternalRedirectMiddleware:
    """Replaces redirects of forms to a sign-in provider by a page that redirects.

    Chromium applies the Content Security Policy's `form-action` to redirects of a form, too, and a
    provider may redirect to hosts that aren't known here. The page isn't a form.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        target = getattr(response, "url", "")  # Only redirects have a URL.
        if request.method != "POST" or urlsplit(target).netloc in ("", request.get_host()):
            return response
        return render(request, "socialaccount/login_redirect.html", {"redirect_to": target})


class RequireOperatorMFAMiddleware:
    """Requires operators to set up two-factor authentication before they use the admin."""

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


class SignInCookiesMiddleware:
    """Sets what sign-in knows about a browser: that it was signed in, and whose it is.

    The first cookie is kept from sign-in to sign-out, so that sign-in can say that a session
    expired. The session cookie can't tell, because browsers delete it when the session expires.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if (signed_in := sessions.change(request)) is True:
            response.set_cookie(
                sessions.SIGNED_IN_COOKIE,
                "yes",
                max_age=sessions.SIGNED_IN_COOKIE_AGE,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )
        elif signed_in is False:
            response.delete_cookie(sessions.SIGNED_IN_COOKIE, samesite="Lax")
        known_browsers.set_cookie(request, response)
        return response


def _is_admin(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and (match.app_name == "admin" or match.url_name == "metrics")
