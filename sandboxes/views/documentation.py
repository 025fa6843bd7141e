"""The documentation, with the values of the reader's portal and sandbox filled in."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import patch_cache_control
from django.utils.html import escape
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_http_methods, require_safe

from sandboxes import actions, documentation
from sandboxes.documentation.contents import START, Page
from sandboxes.documentation.rendering import OWN_SANDBOX
from sandboxes.lib import client_package
from sandboxes.lib.exceptions import ServiceError
from sandboxes.models import State
from sandboxes.views.helpers import Request
from sandboxes.views.sandbox_card import Card
from sandboxes.views.snippets import first_command, snippets

EXAMPLE_URL = "https://portal.example.com"
"""The address in the documentation that stands for that of the portal."""
EXAMPLE_PACKAGE = re.compile(r"sandbox_client-[\d.]+-py3-none-any\.whl")


@require_http_methods(["GET", "HEAD", "POST"])
def start(request: Request) -> HttpResponse:
    """Show the quickstart with the reader's sandbox; POST fills in its credentials.

    The journal records that they were shown.
    """
    page = documentation.find(START, for_operators=False)
    assert page
    if request.method == "POST" and not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    response = _render_page(request, page, _own_sandbox(request))
    patch_cache_control(response, no_store=True)
    return response


def _own_sandbox(request: Request) -> str:
    """Return the first call to the reader's newest sandbox as HTML; empty if none runs."""
    if not request.user.is_authenticated:
        return ""
    running = actions.with_preview(request.user.sandboxes.filter(state=State.RUNNING))
    sandbox = running.order_by("-created_at").first()
    if sandbox is None:
        return ""
    card = Card(sandbox)
    context: dict[str, Any] = {"sandbox": sandbox, "card": card, "command": first_command(card)}
    if request.method == "POST":
        try:
            keys = actions.read_credentials(sandbox, request.user)
            context["command"] = next(iter(snippets(card, keys)), None)
        except ServiceError as error:
            context["error"] = str(error)
    return render_to_string("documentation/_own_sandbox.html", context, request)


@require_safe
def page(request: HttpRequest, page: str) -> HttpResponse:
    """Show a page for users."""
    found = documentation.find(page, for_operators=False)
    if found is None or found.name == START:
        raise Http404
    return _render_page(request, found)


@require_safe
def operators_page(request: HttpRequest, operators_page: str) -> HttpResponse:
    """Show a page for operators to staff."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if not request.user.is_staff:
        raise PermissionDenied
    found = documentation.find(operators_page, for_operators=True)
    if found is None:
        raise Http404
    return _render_page(request, found)


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Show the sections that contain the words of `q`."""
    query = request.GET.get("q", "").strip()[:200]
    hits = documentation.search(query, for_operator=_is_operator(request))
    context = {"query": query, "hits": hits, **_navigation(request)}
    return render(request, "documentation/search.html", context)


def _render_page(request: HttpRequest, page: Page, own_sandbox: str = "") -> HttpResponse:
    rendered = documentation.render(page, for_operator=_is_operator(request))
    html = rendered.html
    if own_sandbox:
        before, _, after = html.split(OWN_SANDBOX)
        html = before + own_sandbox + after
    context = {
        "page": page,
        # Rendered from files of the release.
        "html": mark_safe(_with_own_values(request, html)),  # noqa: S308
        "headings": rendered.headings,
        **_navigation(request),
    }
    return render(request, "documentation/page.html", context)


def _with_own_values(request: HttpRequest, html: str) -> str:
    """Return the page with the portal's address and its client in place of the examples."""
    html = html.replace(EXAMPLE_URL, escape(request.build_absolute_uri("/").rstrip("/")))
    package = client_package.current()
    return EXAMPLE_PACKAGE.sub(package.name, html) if package else html


def _navigation(request: HttpRequest) -> dict[str, Any]:
    return {"sections": documentation.sections(for_operator=_is_operator(request))}


def _is_operator(request: HttpRequest) -> bool:
    return request.user.is_authenticated and request.user.is_staff
