"""Pages that every site has: favicon, robots.txt, and the page for status 429."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.views.decorators.http import require_safe


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
