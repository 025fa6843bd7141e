"""The dashboard: live and recently ended sandboxes, and the launch form."""

from __future__ import annotations

from http import HTTPStatus

from django.contrib import messages
from django.db.models import prefetch_related_objects
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import reswap, trigger_client_event

from sandboxes import actions
from sandboxes.lib import clock
from sandboxes.lib.exceptions import IdempotencyKeyReused, ServiceError, ValidationFailed
from sandboxes.models import Sandbox
from sandboxes.views import pending_resets
from sandboxes.views.dashboard.news import DashboardNews
from sandboxes.views.dashboard.revision import current_revision
from sandboxes.views.dashboard.summary import DashboardSummary
from sandboxes.views.forms import LaunchForm
from sandboxes.views.helpers import Request, login_required_page
from sandboxes.views.sandbox_card import cards

DISMISSED_KEY, PREVIOUSLY_DISMISSED_KEY = "ended_cleared", "ended_cleared_before"
"""Session keys: sandboxes that ended before this time (RFC 3339) are hidden; its value before."""


def _get_summary(request: Request, form: LaunchForm | None = None) -> DashboardSummary:
    dismissed_at = request.session.get(DISMISSED_KEY, "")
    return DashboardSummary(request.user, dismissed_at, form.limits if form else None)


def _context(request: Request, form: LaunchForm | None = None) -> dict[str, object]:
    summary = _get_summary(request, form)
    pending_resets.report_finished(request, summary.live)
    notices = messages.get_messages(request)
    form = form or LaunchForm(request.user, own=summary.limits)
    prefetch_related_objects([row for row in summary.live if row.started_at], "extensions")
    live = cards(summary.live, notices, summary.fleet)
    return {
        "summary": summary,
        # After a launch, the next poll finds it out.
        "revision": summary.revision if request.method == "GET" else "",
        "blueprints": form.offered,
        "form": form,
        "live": live,
        "auto_refresh": any(card.is_transitioning for card in live),
        "ended": cards(summary.shown_ended, notices, summary.fleet),
        "dismissal_messages": [notice for notice in notices if notice.extra_tags == DISMISSED_KEY],
    }


@login_required_page
@require_GET
def dashboard(request: Request) -> HttpResponse:
    return render(request, "sandboxes/dashboard.html", _context(request))


@login_required_page
@require_GET
def overview(request: Request) -> HttpResponse:
    """Return what an open dashboard polls for: nothing, what changed, or all of it."""
    shown, revision = request.GET, current_revision(request.user)
    known, waits_for_reset = shown.get("revision"), pending_resets.FIELD in shown
    if known and known == revision and not waits_for_reset:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    now, etag = _get_summary(request), shown.get("etag", "")
    if etag.partition(".")[0] != now.list_etag:
        return render(request, "sandboxes/_dashboard.html", _context(request))
    news = DashboardNews.find(request, now, shown.getlist("shown"))
    summary_changed = etag != now.etag
    is_stale = known is not None and known != revision
    if not (summary_changed or news or is_stale):
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    context: dict[str, object] = {
        "summary": now,
        "revision": revision,
        "summary_changed": summary_changed,
        "changed_status": news.statuses,
        "changed_cards": news.cards,
    }
    if summary_changed:
        form = LaunchForm(request.user, own=now.limits)
        context |= {"form": form, "blueprints": form.offered}
    response = reswap(render(request, "sandboxes/_dashboard_news.html", context), "none")
    if news:
        trigger_client_event(response, "card-updated")
    if news.finished_resets:
        trigger_client_event(response, "toast", {"text": " ".join(news.finished_resets)})
    return response


@login_required_page
@require_GET
def launch_options(request: Request) -> HttpResponse:
    """Return the options of the launch form that depend on the selected blueprint."""
    form = LaunchForm(request.user, initial=request.GET.dict()).with_options()
    return render(request, "sandboxes/_launch_options.html", {"form": form})


@login_required_page
@require_http_methods(["GET", "POST"])
def launch(request: Request) -> HttpResponse:
    if request.method == "GET":
        # Reloading a page that showed an invalid form leads here.
        return redirect("dashboard")
    form = LaunchForm(request.user, request.POST)
    if "show_options" in request.POST:
        return _render_dashboard(request, form.with_options())
    if not form.showed_options:
        form = form.with_options()
        form.notice = "The blueprint has options of its own. Check them, then launch."
        return _render_dashboard(request, form)
    sandbox = _launch(request, form)
    if sandbox and not request.htmx:
        return redirect(f"{reverse('dashboard')}#card-{sandbox.public_id}")
    if sandbox:
        form = LaunchForm(request.user, own=form.limits, offered=form.offered)
    return _render_dashboard(request, form)


def _render_dashboard(request: Request, form: LaunchForm) -> HttpResponse:
    name = "_dashboard" if request.htmx else "dashboard"
    return render(request, f"sandboxes/{name}.html", _context(request, form))


def _launch(request: Request, form: LaunchForm) -> Sandbox | None:
    """Launch a sandbox; return None and add the error to the form if that fails."""
    if not form.is_valid():
        return None
    try:
        sandbox, _ = actions.launch_sandbox(
            request.user, form.request, form.cleaned_data["key"], own=form.limits
        )
    except ValidationFailed as error:
        form.add_error(error.field if error.field in form.fields else None, str(error))
    except IdempotencyKeyReused:
        form.with_new_key().add_error(
            None, "This form was already submitted. Submit it again to launch another sandbox."
        )
    except ServiceError as error:
        form.add_error(None, str(error))
    else:
        return sandbox
    return None


@login_required_page
@require_POST
def dismiss_ended(request: Request) -> HttpResponse:
    """Hide ended sandboxes from the dashboard, but not from History. `undo` shows them again."""
    session = request.session
    if "undo" in request.POST:
        session[DISMISSED_KEY] = session.pop(PREVIOUSLY_DISMISSED_KEY, "")
    else:
        session[PREVIOUSLY_DISMISSED_KEY] = session.get(DISMISSED_KEY, "")
        session[DISMISSED_KEY] = clock.now().isoformat()
        messages.success(
            request, "Dismissed. Ended sandboxes stay in History.", extra_tags=DISMISSED_KEY
        )
    if request.htmx:
        return render(request, "sandboxes/_dashboard.html", _context(request))
    return redirect("dashboard")
