"""The dashboard: what I have, what is left, and one click for another one."""

from __future__ import annotations

from django.contrib import messages
from django.db.models import prefetch_related_objects
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import reswap

from sandboxes import actions
from sandboxes.lib import clock
from sandboxes.lib.exceptions import IdempotencyKeyReused, ServiceError, ValidationFailed
from sandboxes.models import Sandbox
from sandboxes.views.dashboard_summary import Overview
from sandboxes.views.forms import LaunchForm
from sandboxes.views.helpers import Request, page
from sandboxes.views.sandbox_card import cards

CLEARED, CLEARED_BEFORE = "ended_cleared", "ended_cleared_before"
"""Of the session: what had ended by then (RFC 3339) is not shown; the same, as it was before."""


def _overview(request: Request) -> Overview:
    return Overview(request.user, request.session.get(CLEARED, ""))


def _context(request: Request, form: LaunchForm | None = None) -> dict[str, object]:
    overview = _overview(request)
    notices = messages.get_messages(request)
    form = form or LaunchForm(request.user, own=overview.limits)
    prefetch_related_objects(overview.live, "extensions")
    live = cards(overview.live, notices, overview.site)
    return {
        "overview": overview,
        "blueprints": form.offered,
        "form": form,
        "live": live,
        "waits": any(card.waits for card in live),
        "ended": cards(overview.shown, notices, overview.site),
        "was_cleared": [notice for notice in notices if notice.extra_tags == CLEARED],
    }


@page
@require_GET
def dashboard(request: Request) -> HttpResponse:
    return render(request, "sandboxes/dashboard.html", _context(request))


@page
@require_GET
def overview(request: Request) -> HttpResponse:
    """News for an open dashboard: nothing, its top, or all of it when a sandbox has come up."""
    now, seen = _overview(request), request.GET.get("seen", "")
    if seen == now.seen:
        return HttpResponse(status=204)
    if seen.partition(".")[0] == now.listed:
        form = LaunchForm(request.user, own=now.limits)
        blueprints = {"blueprints": form.offered}
        context = {"overview": now, "form": form, "out_of_band": True} | blueprints
        return reswap(render(request, "sandboxes/_overview.html", context), "none")
    return render(request, "sandboxes/_dashboard.html", _context(request))


@page
@require_http_methods(["GET", "POST"])
def launch(request: Request) -> HttpResponse:
    if request.method == "GET":
        # Where a form with a mistake was shown, its address stays behind.
        return redirect("dashboard")
    form = LaunchForm(request.user, request.POST)
    sandbox = _launch(request, form)
    if sandbox and not request.htmx:
        return redirect(f"{reverse('dashboard')}#card-{sandbox.public_id}")
    name = "_dashboard" if request.htmx else "dashboard"
    return render(request, f"sandboxes/{name}.html", _context(request, None if sandbox else form))


def _launch(request: Request, form: LaunchForm) -> Sandbox | None:
    """The sandbox that the form asked for, or None with the reason in the form."""
    if not form.is_valid():
        return None
    try:
        return actions.launch_sandbox(request.user, form.request, form.cleaned_data["key"])[0]
    except ValidationFailed as invalid:
        form.add_error(invalid.field if invalid.field in form.fields else None, str(invalid))
    except IdempotencyKeyReused:
        form.with_new_key().add_error(
            None, "This form was already submitted. Submit it again to launch another sandbox."
        )
    except ServiceError as refusal:
        form.add_error(None, str(refusal))
    return None


@page
@require_POST
def clear(request: Request) -> HttpResponse:
    """Take what has ended off the dashboard; it stays in the history. With `undo`, put it back."""
    session = request.session
    if "undo" in request.POST:
        session[CLEARED] = session.pop(CLEARED_BEFORE, "")
    else:
        session[CLEARED_BEFORE] = session.get(CLEARED, "")
        session[CLEARED] = clock.now().isoformat()
        messages.success(request, "Dismissed. Ended sandboxes stay in History.", extra_tags=CLEARED)
    if request.htmx:
        return render(request, "sandboxes/_dashboard.html", _context(request))
    return redirect("dashboard")
