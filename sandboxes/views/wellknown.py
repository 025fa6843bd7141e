"""What browsers and crawlers ask every host for, unasked."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
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
