"""A sandbox's page, its card, and the card's actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from django.contrib import messages
from django.db.models import Exists, OuterRef, Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import reswap, trigger_client_event

from sandboxes import actions
from sandboxes.lib.exceptions import ServiceError
from sandboxes.models import Sandbox
from sandboxes.views import pending_resets
from sandboxes.views.forms import parse_minutes
from sandboxes.views.helpers import (
    Request,
    get_owned_sandbox,
    login_required_page,
    messages_for,
    referrer,
    return_url,
    with_htmx_events,
)
from sandboxes.views.logs import lazy_log
from sandboxes.views.sandbox_card import Card, cards
from sandboxes.views.snippets import first_command, snippets
from sandboxes.views.usage import get_usage


@login_required_page
@require_GET
def detail(request: Request, public_id: str) -> HttpResponse:
    """Show everything about a sandbox, including after it has ended."""
    owned = actions.with_preview(request.user.sandboxes.all())
    sandbox = get_owned_sandbox(request, public_id, owned)
    pending_resets.report_finished(request, [sandbox])
    (card,) = cards([sandbox], messages_for(request, sandbox))
    context = {
        "card": replace(card, is_page=True),
        "events": list(sandbox.events.order_by("-id")),
        "log": lazy_log(sandbox),
        "usage": get_usage(sandbox),
    }
    return render(request, "sandboxes/detail.html", context)


@login_required_page
@require_GET
def journal(request: Request, public_id: str) -> HttpResponse:
    sandbox = get_owned_sandbox(request, public_id)
    context = {"sandbox": sandbox, "events": list(sandbox.events.order_by("-id"))}
    return render(request, "sandboxes/_journal.html", context)


@login_required_page
@require_GET
def card(request: Request, public_id: str) -> HttpResponse:
    """Return what a card polls for: nothing, its live parts, or all if its layout changed."""
    now, etag = _get_card(request, public_id), request.GET.get("etag", "")
    if pending_resets.is_shown(request, now.sandbox) and not now.is_resetting and now.is_running:
        return _render_reset_result(request, now)
    if etag == now.etag:
        return HttpResponse(status=204)
    if etag.partition(".")[0] == now.layout_hash:
        news = render(request, "sandboxes/_card_oob.html", {"card": now})
        trigger_client_event(news, "card-updated")
        return reswap(news, "none")
    return with_htmx_events(_render_card(request, now))


def _get_card(request: Request, public_id: str, error: str = "") -> Card:
    newer = Sandbox.objects.live().filter(
        Q(created_at__gt=OuterRef("created_at"))
        | Q(created_at=OuterRef("created_at"), pk__gt=OuterRef("pk")),
        owner=request.user,
    )
    owned = actions.with_preview(request.user.sandboxes.annotate(has_newer=Exists(newer)))
    sandbox = get_owned_sandbox(request, public_id, owned)
    is_page = referrer(request).path == reverse("sandbox", args=[public_id])
    return Card(sandbox, error, is_page=is_page, is_newest=not sandbox.has_newer)  # type: ignore[attr-defined]


def _render_reset_result(request: Request, card: Card) -> HttpResponse:
    """Show on an open page that a reset has finished or failed."""
    result = pending_resets.take_result(request, card.sandbox)
    if result and not result.succeeded:
        card = replace(card, error_message=result.message)
    toast = result.message if result and result.succeeded else ""
    return with_htmx_events(_render_card(request, card), toast)


def _render_card(request: Request, card: Card) -> HttpResponse:
    return render(request, "sandboxes/_card.html", {"card": card})


def _perform(request: Request, public_id: str, action: Callable[[Sandbox], str]) -> HttpResponse:
    """Perform the action and show the card with its result."""
    sandbox = get_owned_sandbox(request, public_id)
    try:
        success, error = action(sandbox), ""
    except ServiceError as exc:
        success, error = "", str(exc)
    if request.htmx:
        # Read the sandbox again: what was prefetched is older than the action.
        card = _get_card(request, public_id, error)
        if result := pending_resets.take_result(request, card.sandbox):
            card = card.with_message(result)
        return with_htmx_events(_render_card(request, card), success)
    level = messages.ERROR if error else messages.SUCCESS
    messages.add_message(request, level, error or success, extra_tags=public_id)
    return redirect(return_url(request, public_id))


@login_required_page
@require_POST
def extend(request: Request, public_id: str) -> HttpResponse:
    # Invalid input is rejected like a number that is out of range.
    minutes = parse_minutes(request.POST.get("minutes")) or 0

    def action(sandbox: Sandbox) -> str:
        extension = actions.extend(sandbox, minutes, request.user)
        return f"Extended by {extension.minutes} minutes."

    return _perform(request, public_id, action)


@login_required_page
@require_POST
def touch(request: Request, public_id: str) -> HttpResponse:
    def action(sandbox: Sandbox) -> str:
        actions.touch(sandbox, request.user)
        return f"Idle timer reset to {sandbox.idle_minutes} minutes."

    return _perform(request, public_id, action)


@login_required_page
@require_POST
def retry_funding(request: Request, public_id: str) -> HttpResponse:
    def action(sandbox: Sandbox) -> str:
        actions.retry_funding(sandbox, request.user)
        return "Retrying funding…"

    return _perform(request, public_id, action)


@login_required_page
@require_POST
def rename(request: Request, public_id: str) -> HttpResponse:
    def action(sandbox: Sandbox) -> str:
        actions.rename(sandbox, request.POST.get("name", ""), request.user)
        return f"Renamed to {sandbox}."

    return _perform(request, public_id, action)


@login_required_page
@require_POST
def replace_unreachable(request: Request, public_id: str) -> HttpResponse:
    """Replace a sandbox whose machine is away; show the error on its card."""
    sandbox = get_owned_sandbox(request, public_id)
    try:
        new, _is_new = actions.replace(sandbox, request.user, request.POST.get("key", ""))
    except ServiceError as error:
        messages.error(request, str(error), extra_tags=public_id)
        return redirect(return_url(request, public_id))
    return redirect(f"{reverse('dashboard')}#card-{new.public_id}")


@login_required_page
@require_http_methods(["GET", "POST"])
def reset(request: Request, public_id: str) -> HttpResponse:
    def action(sandbox: Sandbox) -> str:
        actions.reset(sandbox, request.user)
        pending_resets.remember(request, sandbox)
        return "Resetting data…"

    return _perform_if_confirmed(request, public_id, "reset", action)


@login_required_page
@require_http_methods(["GET", "POST"])
def destroy(request: Request, public_id: str) -> HttpResponse:
    def action(sandbox: Sandbox) -> str:
        actions.destroy(sandbox, request.user)
        return f"Destroying {sandbox}…"

    return _perform_if_confirmed(request, public_id, "destroy", action)


def _perform_if_confirmed(
    request: Request, public_id: str, verb: str, action: Callable[[Sandbox], str]
) -> HttpResponse:
    """Perform the action on POST; ask first on GET, for browsers without JavaScript."""
    if request.method == "POST":
        return _perform(request, public_id, action)
    context = {"sandbox": get_owned_sandbox(request, public_id), "verb": verb}
    return render(request, "sandboxes/confirm.html", context)


@login_required_page
@require_http_methods(["GET", "POST"])
def credentials(request: Request, public_id: str) -> HttpResponse:
    """Show the credentials on POST, which the journal records; hide them on GET."""
    card = _get_card(request, public_id)
    sandbox = card.sandbox
    context: dict[str, object] = {"card": card}
    if request.method == "POST":
        # Read before the credentials, which then show the same command.
        context["replaces_first_call"] = bool(request.htmx and card.is_new and first_command(card))
        try:
            keys = actions.read_credentials(sandbox, request.user)
            context |= {"credentials": keys, "snippets": snippets(card, keys)}
        except ServiceError as error:
            context["error"] = str(error)
    elif not request.htmx:
        return redirect("sandbox", public_id)
    name = "_credentials" if request.htmx else "credentials"
    return with_htmx_events(render(request, f"sandboxes/{name}.html", context))
