"""One sandbox: its card, its page, and everything that can be clicked on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import reswap, trigger_client_event

from sandboxes import actions
from sandboxes.lib.exceptions import ServiceError
from sandboxes.models import Sandbox
from sandboxes.views.forms import as_minutes
from sandboxes.views.helpers import (
    Request,
    back,
    came_from,
    own_sandbox,
    page,
    tell,
    told_about,
)
from sandboxes.views.logs import unread
from sandboxes.views.sandbox_card import Card, cards
from sandboxes.views.snippets import snippets
from sandboxes.views.usage import usage_of


@page
@require_GET
def detail(request: Request, public_id: str) -> HttpResponse:
    """Everything about one sandbox, also after it has ended."""
    sandbox = own_sandbox(request, public_id)
    (card,) = cards([sandbox], told_about(request, sandbox))
    context = {
        "card": replace(card, is_page=True),
        "events": list(sandbox.events.order_by("-id")),
        "log": unread(sandbox),
        "usage": usage_of(sandbox),
    }
    return render(request, "sandboxes/detail.html", context)


@page
@require_GET
def journal(request: Request, public_id: str) -> HttpResponse:
    sandbox = own_sandbox(request, public_id)
    context = {"sandbox": sandbox, "events": list(sandbox.events.order_by("-id"))}
    return render(request, "sandboxes/_journal.html", context)


@page
@require_GET
def card(request: Request, public_id: str) -> HttpResponse:
    """News for a card: nothing, what is live in it, or all of it when its shape has changed."""
    now, seen = _card_of(request, public_id), request.GET.get("seen", "")
    if seen == now.seen:
        return HttpResponse(status=204)
    if seen.partition(".")[0] == now.shape:
        news = render(request, "sandboxes/_card_oob.html", {"card": now})
        trigger_client_event(news, "card-updated")
        return reswap(news, "none")
    return tell(_card(request, now))


def _card_of(request: Request, public_id: str, refusal: str = "") -> Card:
    is_page = came_from(request).path == reverse("sandbox", args=[public_id])
    return Card(own_sandbox(request, public_id), refusal, is_page=is_page)


def _card(request: Request, card: Card) -> HttpResponse:
    return render(request, "sandboxes/_card.html", {"card": card})


def _act(request: Request, public_id: str, act: Callable[[Sandbox], str]) -> HttpResponse:
    """Do it, and show the card with what came of it."""
    sandbox = own_sandbox(request, public_id)
    try:
        told, refusal = act(sandbox), ""
    except ServiceError as refused:
        told, refusal = "", str(refused)
    if request.htmx:
        # Read again: what was prefetched is older than the act.
        return tell(_card(request, _card_of(request, public_id, refusal)), told)
    level = messages.ERROR if refusal else messages.SUCCESS
    messages.add_message(request, level, refusal or told, extra_tags=public_id)
    return redirect(back(request, public_id))


@page
@require_POST
def extend(request: Request, public_id: str) -> HttpResponse:
    # What is no number of minutes is refused like one that is out of bounds.
    minutes = as_minutes(request.POST.get("minutes")) or 0

    def act(sandbox: Sandbox) -> str:
        given = actions.extend(sandbox, minutes, request.user)
        return f"Extended by {given.minutes} minutes."

    return _act(request, public_id, act)


@page
@require_POST
def touch(request: Request, public_id: str) -> HttpResponse:
    def act(sandbox: Sandbox) -> str:
        actions.touch(sandbox, request.user)
        return f"Idle timer reset to {sandbox.idle_minutes} minutes."

    return _act(request, public_id, act)


@page
@require_POST
def fund(request: Request, public_id: str) -> HttpResponse:
    def act(sandbox: Sandbox) -> str:
        actions.retry_funding(sandbox, request.user)
        return "Retrying funding…"

    return _act(request, public_id, act)


@page
@require_http_methods(["GET", "POST"])
def reset(request: Request, public_id: str) -> HttpResponse:
    def act(sandbox: Sandbox) -> str:
        actions.reset(sandbox, request.user)
        return "Resetting data…"

    return _confirmed(request, public_id, "reset", act)


@page
@require_http_methods(["GET", "POST"])
def destroy(request: Request, public_id: str) -> HttpResponse:
    def act(sandbox: Sandbox) -> str:
        actions.destroy(sandbox, request.user)
        return f"Destroying {sandbox}…"

    return _confirmed(request, public_id, "destroy", act)


def _confirmed(
    request: Request, public_id: str, verb: str, act: Callable[[Sandbox], str]
) -> HttpResponse:
    """POST acts; GET asks first, for those whose browser shows no dialog."""
    if request.method == "POST":
        return _act(request, public_id, act)
    context = {"sandbox": own_sandbox(request, public_id), "verb": verb}
    return render(request, "sandboxes/confirm.html", context)


@page
@require_http_methods(["GET", "POST"])
def credentials(request: Request, public_id: str) -> HttpResponse:
    """POST looks, which is journalled; GET hides them again."""
    sandbox = own_sandbox(request, public_id)
    card = Card(sandbox)
    context: dict[str, object] = {"card": card}
    if request.method == "POST":
        try:
            keys = actions.read_credentials(sandbox, request.user)
            context |= {"credentials": keys, "snippets": snippets(card, keys)}
        except ServiceError as refused:
            context["refusal"] = str(refused)
    elif not request.htmx:
        return redirect("sandbox", public_id)
    name = "_credentials" if request.htmx else "credentials"
    return tell(render(request, f"sandboxes/{name}.html", context))
