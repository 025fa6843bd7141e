"""Helpers shared by all pages: access control, lookups, messages and redirects."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django_htmx.http import HttpResponseClientRefresh, trigger_client_event

from sandboxes.models import Sandbox

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.db.models import QuerySet
    from django_htmx.middleware import HtmxDetails


class Request(HttpRequest):
    """A request of a signed-in user, as the middleware prepares it."""

    user: User
    htmx: HtmxDetails


View = Callable[..., HttpResponse]


def login_required_page(view: View) -> View:
    """Require a signed-in user and forbid caching, since pages contain URLs and keys."""

    @wraps(view)
    def guarded(request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            response = view(request, *args, **kwargs)
        elif request.htmx:
            # A fragment can't show the sign-in page, so reload the whole page.
            response = HttpResponseClientRefresh()
        else:
            response = redirect_to_login(request.get_full_path())
        patch_cache_control(response, no_store=True)
        return response

    return guarded


def get_owned_sandbox(
    request: Request, public_id: str, owned: QuerySet[Sandbox] | None = None
) -> Sandbox:
    """Return the user's sandbox with its extensions. Raises Http404 if it isn't theirs.

    `owned` are the user's sandboxes, if the caller needs annotations.
    """
    rows = request.user.sandboxes.all() if owned is None else owned
    sandbox: Sandbox = get_object_or_404(rows.prefetch_related("extensions"), public_id=public_id)
    return sandbox


def with_htmx_events(response: HttpResponse, text: str = "") -> HttpResponse:
    """Make the page refresh its sandboxes and show `text` as a toast."""
    # After the swap, so that the dashboard's poll sends what the page then shows.
    trigger_client_event(response, "sandboxes-changed", after="swap")
    if text:
        trigger_client_event(response, "toast", {"text": text})
    return response


def messages_for(request: HttpRequest, sandbox: Sandbox) -> list[Any]:
    """Return the messages for this sandbox's card that were stored before a redirect."""
    return [m for m in messages.get_messages(request) if m.extra_tags == sandbox.public_id]


def referrer(request: Request) -> SplitResult:
    """Return the URL of the page from which the request came."""
    return urlsplit(request.htmx.current_url or request.headers.get("Referer", ""))


def return_url(request: Request, public_id: str) -> str:
    """Return the URL of the page from which the request came if it shows this sandbox."""
    came, own = referrer(request), reverse("sandbox", args=[public_id])
    if came.path == own:
        return own
    history = reverse("history")
    page = f"{history}?{came.query}" if came.path == history else reverse("dashboard")
    return f"{page}#card-{public_id}"
