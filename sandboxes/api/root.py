"""The root of the API, and paths that don't exist."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import resolve, reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from sandboxes.api import problems
from sandboxes.lib import client_package


@csrf_exempt
@require_safe
def api_root(request: HttpRequest, **_: object) -> HttpResponse:
    """Return where the documentation, sign-in, events and the client are. Needs no token."""
    names = {
        "openapi": "api:openapi-json",
        "documentation": "api:openapi-view",
        "device_authorization_endpoint": "device-authorization",
        "token_endpoint": "token",
    }
    urls = {key: request.build_absolute_uri(reverse(name)) for key, name in names.items()}
    body: dict[str, object] = {"name": f"{settings.PORTAL_NAME} API", "version": "1", **urls}
    if settings.STREAMS_URL:
        body["events"] = f"{settings.STREAMS_URL}/streams/events"
        if settings.MCP_ENABLED:
            body["mcp"] = f"{settings.STREAMS_URL}/mcp"
    if package := client_package.current():
        url = request.build_absolute_uri(reverse("client-package", args=[package.name]))
        body["client"] = {"version": package.version, "url": url}
    return JsonResponse(body)


@csrf_exempt
def unknown_path(request: HttpRequest) -> HttpResponse:
    """Return a 404 problem that names the path which may be meant."""
    if not request.path.startswith(reverse("api:api-root")):
        return problems.not_found(request, hint=f"The API is at {reverse('api:api-root')}.")
    shorter = request.path.rstrip("/")
    is_known = resolve(shorter).url_name != "unknown-path"
    return problems.not_found(request, hint=f"Use {shorter}." if is_known else "")
