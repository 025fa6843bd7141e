"""What every page needs: who asks, which sandbox is meant, and how it is answered."""

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
    from django_htmx.middleware import HtmxDetails


class Request(HttpRequest):
    """What the middleware makes of a request from somebody who is signed in."""

    user: User
    htmx: HtmxDetails


View = Callable[..., HttpResponse]


def login_required_page(view: View) -> View:
    """For signed-in people only, and never kept by a cache: pages hold addresses and keys."""

    @wraps(view)
    def guarded(request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            response = view(request, *args, **kwargs)
        elif request.htmx:
            # A fragment must not turn into a sign-in page; the whole page goes there instead.
            response = HttpResponseClientRefresh()
        else:
            response = redirect_to_login(request.get_full_path())
        patch_cache_control(response, no_store=True)
        return response

    return guarded


def get_owned_sandbox(request: Request, public_id: str) -> Sandbox:
    """The sandbox of this id if it is the caller's own, with its extensions. Raises Http404."""
    mine = request.user.sandboxes.prefetch_related("extensions")
    sandbox: Sandbox = get_object_or_404(mine, public_id=public_id)
    return sandbox


def with_htmx_events(response: HttpResponse, text: str = "") -> HttpResponse:
    """Have the rest of the page follow what changed, and a short notice shown."""
    trigger_client_event(response, "sandboxes-changed")
    if text:
        trigger_client_event(response, "toast", {"text": text})
    return response


def messages_for(request: HttpRequest, sandbox: Sandbox) -> list[Any]:
    """The messages that a redirect left for this sandbox's card."""
    return [m for m in messages.get_messages(request) if m.extra_tags == sandbox.public_id]


def referrer(request: Request) -> SplitResult:
    """The page that the person clicked on."""
    return urlsplit(request.htmx.current_url or request.headers.get("Referer", ""))


def return_url(request: Request, public_id: str) -> str:
    """The page that the person clicked on, if it is one that shows this sandbox."""
    came, own = referrer(request), reverse("sandbox", args=[public_id])
    if came.path == own:
        return own
    history = reverse("history")
    page = f"{history}?{came.query}" if came.path == history else reverse("dashboard")
    return f"{page}#card-{public_id}"
