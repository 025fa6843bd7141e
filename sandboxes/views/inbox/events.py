"""The inbox of a sandbox: its events and their deliveries, its endpoints, and its clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from sandboxes import actions
from sandboxes.explorer import sandbox_clock
from sandboxes.lib.exceptions import ServiceError, ValidationFailed
from sandboxes.models import EventEndpoint, Sandbox, State
from sandboxes.views.helpers import Request, get_owned_sandbox, login_required_page
from sandboxes.views.sandbox_card import make_etag
from sandboxes.webhooks.inbox import inbox, source
from sandboxes.webhooks.inbox.misbehavior import Misbehavior

PAGE_SIZE = 30
MAX_TYPES = 100
PERCENTAGES = {
    "duplicates": "Duplicates",
    "disorder": "Out of order",
    "wrong_signatures": "Wrong signatures",
}


def _get_sandbox(request: Request, public_id: str) -> Sandbox:
    """Return the user's sandbox. Raises Http404 if it isn't theirs or offers no events."""
    sandbox = get_owned_sandbox(request, public_id)
    if inbox.event_source(sandbox) is None:
        raise Http404
    return sandbox


@login_required_page
@require_GET
def show(request: Request, public_id: str) -> HttpResponse:
    """Show the inbox with the clock."""
    sandbox = _get_sandbox(request, public_id)
    offered = inbox.event_source(sandbox)
    context = {
        **_events(request, sandbox),
        "can_create": bool(offered and offered.create),
        "endpoints": [_endpoint(row) for row in inbox.endpoints(sandbox)],
        "receiver_url": source.receiver_url(settings.SITE_URL, public_id),
        **_clock(sandbox),
    }
    return render(request, "sandboxes/inbox.html", context)


def _clock(sandbox: Sandbox) -> dict[str, Any]:
    if sandbox.state != State.RUNNING or not sandbox_clock.has_clock(sandbox):
        return {}
    try:
        return {"clock": sandbox_clock.read(sandbox)}
    except ServiceError as error:
        return {"clock_problem": str(error)}


def _endpoint(row: EventEndpoint) -> dict[str, Any]:
    values = Misbehavior(**row.misbehavior)
    shares = [(name, label, getattr(values, name)) for name, label in PERCENTAGES.items()]
    return {"row": row, "shares": shares, "delay_seconds": values.delay_seconds}


def _events(request: Request, sandbox: Sandbox) -> dict[str, Any]:
    kind = request.GET.get("type", "")[:100].replace("\0", "")
    before = request.GET.get("before", "")
    rows = inbox.events(sandbox).order_by("-pk")
    types = sandbox.inbox.order_by("type").values_list("type", flat=True).distinct()[:MAX_TYPES]
    if kind:
        rows = rows.filter(type=kind)
    if before.isascii() and before.isdecimal() and len(before) < len(str(2**63)):
        rows = rows.filter(pk__lt=int(before))
    else:
        before = ""
    found = list(rows[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    problem = inbox.problem(sandbox) if sandbox.state == State.RUNNING else ""
    found_deliveries = (one for row in shown for one in row.deliveries.all())
    deliveries = [(one.pk, one.status, len(one.log)) for one in found_deliveries]
    return {
        "sandbox": sandbox,
        "events": shown,
        "types": list(types),
        "kind": kind,
        "before": before,
        "following": shown[-1].pk if len(found) > PAGE_SIZE else None,
        "problem": problem,
        "is_running": sandbox.state == State.RUNNING,
        "etag": make_etag([row.pk for row in shown], deliveries, problem, sandbox.state),
    }


@login_required_page
@require_GET
def events(request: Request, public_id: str) -> HttpResponse:
    """Return the list of events, or 204 if it is the one that the page shows."""
    context = _events(request, _get_sandbox(request, public_id))
    if request.GET.get("etag") == context["etag"]:
        return HttpResponse(status=204)
    return render(request, "sandboxes/_inbox_events.html", context)


def _perform(
    request: Request, sandbox: Sandbox, action: Callable[[], object], success: str
) -> HttpResponse:
    try:
        action()
        messages.success(request, success)
    except ValidationFailed as error:
        messages.error(request, f"{error.field}: {error}")
    except ServiceError as error:
        messages.error(request, str(error))
    return redirect("inbox", sandbox.public_id)


@login_required_page
@require_POST
def create(request: Request, public_id: str) -> HttpResponse:
    """Let the sandbox record an event."""
    sandbox = _get_sandbox(request, public_id)
    kind, about = (request.POST.get(name, "").strip() for name in ("type", "object_id"))
    return _perform(
        request,
        sandbox,
        lambda: actions.create_event(sandbox, request.user, kind, about),
        "Event recorded.",
    )


@login_required_page
@require_POST
def replay(request: Request, public_id: str, event_id: str) -> HttpResponse:
    """Deliver an event again."""
    sandbox = _get_sandbox(request, public_id)
    row = get_object_or_404(sandbox.inbox.select_related("sandbox"), message_id=event_id)
    return _perform(
        request, sandbox, lambda: actions.replay_event(row, request.user), "Event queued again."
    )


@login_required_page
@require_POST
def misbehave(request: Request, public_id: str, endpoint_id: str) -> HttpResponse:
    """Choose what goes wrong with deliveries to an endpoint."""
    sandbox = _get_sandbox(request, public_id)
    row = get_object_or_404(inbox.endpoints(sandbox), endpoint_id=endpoint_id)
    names = (*PERCENTAGES, "delay_seconds")
    values = {name: request.POST.get(name, "").strip() or "0" for name in names}
    return _perform(
        request,
        sandbox,
        lambda: actions.set_misbehavior(row, request.user, **values),
        "Changes saved.",
    )


@login_required_page
@require_POST
def change_clock(request: Request, public_id: str) -> HttpResponse:
    """Advance, freeze or resume the clock."""
    sandbox = _get_sandbox(request, public_id)
    changes = {name: request.POST.get(name, "").strip() for name in sandbox_clock.CHANGES}
    values = {
        name: value in ("on", "yes") if name in ("freeze", "resume") else value
        for name, value in changes.items()
    }
    return _perform(
        request,
        sandbox,
        lambda: actions.change_clock(sandbox, request.user, **values),
        "Clock changed.",
    )
