"""The routes of the gateway, which it pulls several times a second."""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from django.utils.crypto import constant_time_compare
from django.utils.http import quote_etag
from django.views.decorators.http import require_safe

from sandboxes.gateway import routes


@require_safe
def gateway_routes(request: HttpRequest) -> HttpResponse:
    """Return Traefik's dynamic configuration to the holder of SANDBOX_GATEWAY_TOKEN."""
    if not settings.SANDBOX_DOMAIN:
        raise Http404("SANDBOX_DOMAIN isn't set.")
    given = request.headers.get("Authorization", "")
    token = settings.SANDBOX_GATEWAY_TOKEN
    if not token or not constant_time_compare(given, f"Bearer {token}"):
        return HttpResponse(
            "The token must be SANDBOX_GATEWAY_TOKEN.\n",
            content_type="text/plain",
            status=HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": "Bearer"},
        )
    content = json.dumps(routes.configuration(routes.current()), separators=(",", ":"))
    etag = quote_etag(hashlib.sha256(content.encode()).hexdigest())
    response = HttpResponse(content, content_type="application/json", headers={"ETag": etag})
    found = get_conditional_response(request, etag=etag, response=response)
    assert isinstance(found, HttpResponse)
    return found
