"""Pages that every site has: favicon, logo, robots.txt, and the page for status 429."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.views.decorators.http import require_safe

from sandboxes.lib import branding


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Redirect to the icon, for responses other than the portal's pages."""
    return redirect("logo" if branding.logo() else static("favicon.svg"))


@require_safe
def logo(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Return the operator's logo, or redirect to the portal's own."""
    if not (found := branding.logo()):
        return redirect(static("favicon.svg"))
    headers = {
        "Cache-Control": "public, max-age=3600",
        # An SVG that is opened as a page is a document, and may have scripts.
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    }
    return HttpResponse(found.content, content_type=found.media_type, headers=headers)


@require_safe
def robots(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Disallow all crawlers."""
    return HttpResponse("User-agent: *\nDisallow: /\n", content_type="text/plain")


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """Render status 429. allauth limits sign-ins and the like per minute."""
    page = render(request, "429.html", status=HTTPStatus.TOO_MANY_REQUESTS)
    page["Retry-After"] = "60"
    return page
