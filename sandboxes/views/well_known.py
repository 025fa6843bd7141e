"""Pages that every site has: favicon, robots.txt, and those for statuses 429, 500 and 503."""

from __future__ import annotations

import sys
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.views.decorators.http import require_safe
from django.views.defaults import server_error as default_server_error

from sandboxes.api.problems import DEFAULT_RETRY_AFTER_SECONDS, database_unavailable
from sandboxes.lib.database_errors import UNAVAILABLE, is_disk_full, unavailable_reason


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Redirect to the icon, for responses other than the portal's pages."""
    return redirect(static("favicon.svg"))


@require_safe
def robots(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Disallow all crawlers."""
    return HttpResponse("User-agent: *\nDisallow: /\n", content_type="text/plain")


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """Render status 429. allauth limits sign-ins and the like per minute."""
    page = render(request, "429.html", status=HTTPStatus.TOO_MANY_REQUESTS)
    page["Retry-After"] = "60"
    return page


def server_error(request: HttpRequest) -> HttpResponse:
    """Return 503 with the reason if the database or the disk is to blame, or 500.

    It needs neither the database nor the session. Raised outside the API's own views, exceptions of
    API requests arrive here, too.
    """
    error = sys.exc_info()[1]
    if error is None or not (isinstance(error, UNAVAILABLE) or is_disk_full(error)):
        return default_server_error(request)
    if request.path.startswith("/api/"):
        return database_unavailable(request, error)
    page = render_to_string("503.html", {"reason": unavailable_reason(error)})
    headers = {"Retry-After": str(DEFAULT_RETRY_AFTER_SECONDS)}
    return HttpResponse(page, status=HTTPStatus.SERVICE_UNAVAILABLE, headers=headers)
