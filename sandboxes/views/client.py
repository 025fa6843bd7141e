"""The command-line client: how to install it, and its package."""

from __future__ import annotations

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from sandboxes.lib import client_package

MEDIA_TYPE = "application/zip"
"""A wheel is a ZIP file, and has no media type of its own (PEP 427)."""
YEAR_SECONDS = 365 * 24 * 3600


@require_safe
def client_page(request: HttpRequest) -> HttpResponse:
    """Show how to install and use the client."""
    package = client_package.current()
    context = {
        "package": package,
        "package_url": package
        and request.build_absolute_uri(reverse("client-package", args=[package.name])),
        "portal_url": request.build_absolute_uri("/").rstrip("/"),
    }
    return render(request, "sandboxes/client.html", context)


@require_safe
def client_file(request: HttpRequest, name: str) -> FileResponse:  # noqa: ARG001
    """Return the package, which installers may cache: its name contains the version."""
    package = client_package.current()
    if package is None or package.name != name:
        raise Http404
    response = FileResponse(
        package.file.open("rb"), as_attachment=True, filename=name, content_type=MEDIA_TYPE
    )
    response["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
    return response
