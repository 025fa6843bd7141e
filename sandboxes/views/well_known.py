"""What every host has: an icon, a word to crawlers, an answer to who comes too often."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.views.decorators.http import require_safe


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Where what is shown is no page that names its icon."""
    return redirect(static("favicon.svg"))


@require_safe
def robots(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Nothing here is for search engines."""
    return HttpResponse("User-agent: *\nDisallow: /\n", content_type="text/plain")


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """Of signing in and the like; allauth counts them, by the minute where they are many."""
    page = render(request, "429.html", status=HTTPStatus.TOO_MANY_REQUESTS)
    page["Retry-After"] = "60"
    return page
