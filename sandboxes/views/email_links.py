"""Pages behind links in emails. They need no sign-in; only POST acts, since scanners send GET."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from sandboxes.actions import email_links
from sandboxes.lib.exceptions import ServiceError
from sandboxes.models import DeadlineKind, Preferences, SandboxWarning
from sandboxes.notifications import signed_links
from sandboxes.representations import display


# The signed link alone authorizes; the session isn't used, so there is nothing to forge.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "POST"])
def keep_alive(request: HttpRequest, token: str) -> HttpResponse:
    """Keep the sandbox of a warning running on POST; ask for confirmation on GET."""
    warning = signed_links.parse_keep_alive_token(token)
    if warning is None:
        return _invalid_link(request)
    error, done = email_links.link_blocker(warning), False
    if request.method == "POST" and not error:
        try:
            email_links.keep_alive(warning)
            done = True
        except ServiceError as exc:
            error = str(exc)
        warning.refresh_from_db()
        warning.sandbox.refresh_from_db()
    context = _warning_context(warning) | {"error": error, "done": done}
    status = HTTPStatus.GONE if error else HTTPStatus.OK
    return _render(request, "keep_alive", context, status)


def _warning_context(warning: SandboxWarning) -> dict[str, Any]:
    idle = warning.deadline_kind == DeadlineKind.IDLE
    minutes = 0 if idle or not warning.is_current else email_links.extension_minutes(warning)
    deadline = display.deadline(warning.sandbox)
    return {"sandbox": warning.sandbox, "idle": idle, "minutes": minutes, "deadline": deadline}


def _render(
    request: HttpRequest, name: str, context: dict[str, Any], status: int = HTTPStatus.OK
) -> HttpResponse:
    response = render(request, f"sandboxes/{name}.html", context, status=status)
    response["X-Robots-Tag"] = "noindex"
    return response


def _invalid_link(request: HttpRequest) -> HttpResponse:
    return _render(request, "invalid_link", {}, HTTPStatus.NOT_FOUND)


# RFC 8058: mail clients send this POST without cookies or a CSRF token.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Unsubscribe from one kind of warning on POST; ask for confirmation on GET."""
    found = signed_links.parse_unsubscribe_token(token)
    if found is None:
        return _invalid_link(request)
    user, deadline_kind = found
    column = "mail_idle" if deadline_kind == DeadlineKind.IDLE else "mail_expiry"
    if request.method == "POST":
        Preferences.objects.update_or_create(user=user, defaults={column: False})
    context = {
        "idle": deadline_kind == DeadlineKind.IDLE,
        "done": not Preferences.for_user(user).wants_mail(deadline_kind),
        "email": user.email,
    }
    return _render(request, "unsubscribe", context)
