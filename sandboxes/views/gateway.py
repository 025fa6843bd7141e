"""What the gateway asks: its routes, several times a second, and whom it may admit."""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus

from csp.decorators import csp_update
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.crypto import constant_time_compare
from django.utils.encoding import iri_to_uri
from django.utils.http import quote_etag, urlencode
from django.views.decorators.http import require_http_methods, require_safe

from sandboxes.actions import gateway_access
from sandboxes.gateway import access, names, routes
from sandboxes.views.helpers import Request, get_owned_sandbox, login_required_page


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
    portal_url = f"{request.scheme}://{request.get_host()}"
    found_routes = routes.configuration(routes.current(), portal_url)
    content = json.dumps(found_routes, separators=(",", ":"))
    etag = quote_etag(hashlib.sha256(content.encode()).hexdigest())
    response = HttpResponse(content, content_type="application/json", headers={"ETag": etag})
    found = get_conditional_response(request, etag=etag, response=response)
    assert isinstance(found, HttpResponse)
    return found


@require_safe
def authorize(request: HttpRequest, host_label: str) -> HttpResponse:
    """Tell the gateway whether it may forward a request to a sandbox that only its owner may open.

    With status 200, it does, with the cookies that are returned; otherwise the client gets this
    response. Nothing about the request is taken from the portal's own session.
    """
    if not settings.SANDBOX_DOMAIN:
        raise Http404("SANDBOX_DOMAIN isn't set.")
    method = request.headers.get("X-Forwarded-Method", "GET")
    uri = request.headers.get("X-Forwarded-Uri", "/")
    path, _, query = uri.partition("?")
    if path == access.CODE_PATH:
        return _exchange_code(request, host_label, QueryDict(query))
    cookies = request.META[access.FORWARDED_COOKIES]
    values = access.cookie_values(cookies)
    if not access.is_own_request(request.headers, method, names.origin(host_label)):
        values = []
    token = request.headers.get(access.TOKEN_HEADER, "")
    if refusal := gateway_access.authorize(host_label, values, token):
        return _refuse(request, host_label, refusal, uri if method in access.SAFE_METHODS else "")
    rest = access.without_cookie(cookies)
    return HttpResponse(headers={"Cookie": rest} if rest else {})


def _exchange_code(request: HttpRequest, host_label: str, query: QueryDict) -> HttpResponse:
    path = _local_path(query.get("path", ""))
    cookie = gateway_access.redeem_code(query.get("code", ""), host_label)
    if cookie is None:
        return _refuse(request, host_label, gateway_access.USED_CODE, path)
    response = HttpResponse(
        status=int(HTTPStatus.SEE_OTHER),
        headers={"Location": names.origin(host_label) + iri_to_uri(path)},
    )
    response.set_cookie(access.COOKIE, cookie, secure=True, httponly=True, samesite="Lax")
    return response


def _local_path(text: str) -> str:
    """Return a path on the sandbox's host; it begins with a slash, so it can't change the host."""
    return text if text.startswith("/") and not text.startswith(access.CODE_PATH) else "/"


def _refusal_page(
    request: HttpRequest, host_label: str, refusal: gateway_access.Refusal, path: str
) -> HttpResponse:
    """Return a page at the sandbox's host, with the portal's stylesheets and logo."""
    endpoint = host_label.partition("--")[2]
    place = reverse("open-endpoint", args=[names.public_id(host_label), endpoint])
    link = f"{settings.SITE_URL}{place}?{urlencode({'path': path})}"
    context = {"refusal": refusal, "link": link, "asset_origin": settings.SITE_URL}

    @csp_update({"style-src": [settings.SITE_URL], "img-src": [settings.SITE_URL]})
    def page(request: HttpRequest) -> HttpResponse:
        return render(request, "gateway/refused.html", context)

    response = page(request)
    assert isinstance(response, HttpResponse)
    return response


def _refuse(
    request: HttpRequest, host_label: str, refusal: gateway_access.Refusal, path: str
) -> HttpResponse:
    """Return a page for browsers, and problem details for API clients."""
    response: HttpResponse
    if path and "text/html" in request.headers.get("Accept", ""):
        response = _refusal_page(request, host_label, refusal, path)
    else:
        problem = {
            "type": "about:blank",
            "title": refusal.status.phrase,
            "status": refusal.status,
            "detail": refusal.detail,
        }
        response = JsonResponse(problem, content_type="application/problem+json")
    response.status_code = int(refusal.status)
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = access.TOKEN_HEADER
    return response


@login_required_page
@require_http_methods(["GET", "POST"])
def open_endpoint(request: Request, public_id: str, label: str) -> HttpResponse:
    """Open an endpoint that only the owner may open, after a click on the portal's page."""
    sandbox = get_owned_sandbox(request, public_id)
    host_label = gateway_access.owner_only_endpoint(sandbox, label)
    if host_label is None:
        return redirect("sandbox", public_id)
    if request.method == "GET":
        context = {
            "sandbox": sandbox,
            "path": _local_path(request.GET.get("path", "")),
        }
        return render(request, "sandboxes/open_endpoint.html", context)
    assert request.session.session_key
    code = gateway_access.issue_code(host_label, request.session.session_key)
    query = {"code": code, "path": _local_path(request.POST.get("path", ""))}
    return redirect(f"{names.origin(host_label)}{access.CODE_PATH}?{urlencode(query)}")
