"""The requests to a sandbox's API: find one, see its bodies, send it again."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from sandboxes import explorer
from sandboxes.explorer import request_log
from sandboxes.explorer.client import METHODS
from sandboxes.lib.exceptions import ServiceError, ValidationFailed
from sandboxes.models import Sandbox, State
from sandboxes.views.explorer.response import RenderedResponse
from sandboxes.views.helpers import Request, get_owned_sandbox, login_required_page
from sandboxes.views.request_code import Call, curl
from sandboxes.views.sandbox_card import Card
from sandboxes.views.snippets import explorer_access, portal_headers

STATUSES = {"2xx": "2xx: success", "4xx": "4xx: refused", "5xx": "5xx: failed"}


def _get_sandbox(request: Request, public_id: str) -> Sandbox:
    """Return the user's sandbox. Raises Http404 if it isn't theirs or has no request log."""
    sandbox = get_owned_sandbox(request, public_id)
    if not request_log.has_request_log(sandbox):
        raise Http404
    return sandbox


@login_required_page
@require_GET
def show(request: Request, public_id: str) -> HttpResponse:
    """Show the requests that match the filters, or for htmx only their list."""
    sandbox = _get_sandbox(request, public_id)
    part = "" if request.htmx.history_restore_request else request.htmx.target
    name = "_request_list" if part == "request-list" else "requests"
    return render(request, f"sandboxes/{name}.html", _context(request, sandbox))


def _context(request: Request, sandbox: Sandbox) -> dict[str, Any]:
    filters = {name: request.GET.get(name, "").strip() for name in request_log.FILTERS}
    cursor = request.GET.get("cursor", "")
    context: dict[str, Any] = {
        "sandbox": sandbox,
        "filters": filters,
        "is_filtered": any(filters.values()),
        "is_running": sandbox.state == State.RUNNING,
        "cursor": cursor,
        "query": urlencode({name: one for name, one in filters.items() if one}),
        "methods": METHODS,
        "statuses": STATUSES,
    }
    try:
        with explorer.page_limit.slot(sandbox.owner_id):
            page = request_log.find(sandbox, filters, cursor)
    except ValidationFailed as error:
        return context | {"problem": f"{error.field}: {error}"}
    except ServiceError as error:
        return context | {"problem": str(error)}
    following = urlencode({"cursor": page.next_cursor}) if page.next_cursor else ""
    return context | {"requests": page.requests, "following": following}


@login_required_page
@require_http_methods(["GET", "POST"])
def repeat(request: Request, public_id: str, log_id: str) -> HttpResponse:
    """Send a request again, and show the response."""
    sandbox = _get_sandbox(request, public_id)
    if request.method == "GET":
        # Going back to a response that was shown without htmx leads here.
        return redirect("requests", public_id)
    context: dict[str, Any] = {"sandbox": sandbox}
    try:
        with explorer.page_limit.slot(sandbox.owner_id):
            logged = request_log.get(sandbox, log_id)
            if logged is None:
                raise Http404
            context |= {"repeated": logged, "response": _repeat(sandbox, logged)}
    except ValidationFailed as error:
        context["error"] = f"{error.field}: {error}"
    except ServiceError as error:
        context["error"] = str(error)
    if request.htmx:
        return render(request, "sandboxes/_request_response.html", context)
    return render(request, "sandboxes/requests.html", _context(request, sandbox) | context)


def _repeat(sandbox: Sandbox, logged: request_log.LoggedRequest) -> RenderedResponse:
    sent, response = request_log.repeat(sandbox, logged)
    card = Card(sandbox)
    call = Call(sent.method, sent.target, portal_headers(card), sent.body.decode())
    return RenderedResponse(response, curl(call, explorer_access(card, {}).with_variable()))
