"""Ended sandboxes: filter, search and relaunch."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from sandboxes import actions
from sandboxes.lib.exceptions import ServiceError, ValidationFailed
from sandboxes.lib.pagination import paginate_newest_first
from sandboxes.models import FAILURE_REASONS, OPERATOR_REASONS, EndReason, State
from sandboxes.usage import report
from sandboxes.views.helpers import (
    Request,
    get_owned_sandbox,
    login_required_page,
    referrer,
    return_url,
)
from sandboxes.views.sandbox_card import cards

if TYPE_CHECKING:
    from sandboxes.models.sandbox import SandboxQuerySet

PAGE_SIZE = 20
MAX_SEARCHED = 1000
"""Most recent sandboxes to which a filter or search without an index is applied."""
FILTERS = {
    "": ("All", Q()),
    "failed": ("Failed", Q(state=State.FAILED, end_reason__in=FAILURE_REASONS)),
    "idle": ("Idle timeout", Q(end_reason=EndReason.IDLE)),
    "expired": ("Expired", Q(end_reason=EndReason.EXPIRED)),
    "user": ("Destroyed by you", Q(end_reason=EndReason.USER)),
    "operator": ("Ended by an operator", Q(end_reason__in=OPERATOR_REASONS)),
}
"""Filters by how a sandbox ended: label and condition."""


@login_required_page
@require_GET
def history(request: Request) -> HttpResponse:
    """List ended sandboxes page by page; redirect to the first page if parameters are invalid."""
    cursor = request.GET.get("cursor", "")
    end, query = request.GET.get("end", ""), request.GET.get("q", "").strip()[:60]
    try:
        rows, older = paginate_newest_first(
            _search(request, end, query), "ended_at", PAGE_SIZE, cursor, "history"
        )
    except (ValidationFailed, KeyError):
        return redirect("history")
    context = {
        "ended": cards(rows, messages.get_messages(request)),
        "older": older and _query_string(end=end, q=query, cursor=older),
        "is_first": not cursor,
        "ends": [(name, label) for name, (label, _only) in FILTERS.items()],
        "end": end,
        "query": query,
    }
    return render(request, "sandboxes/history.html", context)


@login_required_page
@require_GET
def own_usage(request: Request) -> HttpResponse:
    """Show launches, failures and hours of the user's sandboxes by month."""
    months = report.by_month(report.lines(request.user.sandboxes.all()))
    return render(request, "sandboxes/own_usage.html", {"months": months.items()})


def _query_string(**values: str) -> str:
    return urlencode({name: value for name, value in values.items() if value})


def _search(request: Request, end: str, query: str) -> SandboxQuerySet:
    """Return the ended sandboxes that match. Raises KeyError if the filter is unknown."""
    ended: SandboxQuerySet = request.user.sandboxes.ended()
    if not end and not query:
        return ended
    newest = ended.order_by("-ended_at", "-pk").values("pk")[:MAX_SEARCHED]
    rows = ended.filter(FILTERS[end][1], pk__in=newest)
    if query:
        named = Q(name__icontains=query) | Q(public_id=query) | Q(blueprint__iexact=query)
        rows = rows.filter(named)
    return rows


@login_required_page
@require_POST
def relaunch(request: Request, public_id: str) -> HttpResponse:
    """Launch a sandbox with the same options, except metadata; show the error on its card."""
    sandbox = get_owned_sandbox(request, public_id)
    choice = actions.LaunchRequest(
        sandbox.blueprint, sandbox.ttl_minutes, sandbox.name, actions.parameters_to_repeat(sandbox)
    )
    try:
        new, _is_new = actions.launch_sandbox(request.user, choice, request.POST.get("key", ""))
    except ServiceError as error:
        messages.error(request, str(error), extra_tags=public_id)
        return redirect(return_url(request, public_id))
    if referrer(request).path == reverse("sandbox", args=[public_id]):
        return redirect("sandbox", new.public_id)
    return redirect(f"{reverse('dashboard')}#card-{new.public_id}")
