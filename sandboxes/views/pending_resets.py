"""Report the end of a reset exactly where its owner waits for it.

An open page sends the resets that it shows as pending with each of its requests, in hidden fields,
until it shows a card without one. So the result isn't lost with a response that never arrives, or
if another request than the poll brings the new card. The session remembers the resets that were
requested, for pages that are opened later, and for pages without JavaScript, which can't poll.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib import messages

from sandboxes.models import Sandbox
from sandboxes.representations import display
from sandboxes.views.helpers import Request

SESSION_KEY = "pending_resets"
FIELD = "resetting"


def remember(request: Request, sandbox: Sandbox) -> None:
    pending = _remembered(request)
    request.session[SESSION_KEY] = sorted(pending | {sandbox.public_id})


def is_shown(request: Request, sandbox: Sandbox) -> bool:
    """Return whether the page that sent the request shows a pending reset of this sandbox."""
    return sandbox.public_id in _shown(request)


def take_result(request: Request, sandbox: Sandbox) -> display.ResetResult | None:
    """Return how a reset ended of which the page or the session doesn't know; forget the reset."""
    remembered = _remembered(request)
    if sandbox.reset_requested_at or sandbox.public_id not in remembered | _shown(request):
        return None
    if sandbox.public_id in remembered:
        request.session[SESSION_KEY] = sorted(remembered - {sandbox.public_id})
    return display.reset_result(sandbox)


def report_finished(request: Request, sandboxes: Iterable[Sandbox]) -> None:
    """Add a message for each of these sandboxes whose pending reset has ended."""
    for row in sandboxes:
        if result := take_result(request, row):
            level = messages.SUCCESS if result.succeeded else messages.ERROR
            messages.add_message(request, level, result.message, extra_tags=row.public_id)


def _remembered(request: Request) -> set[str]:
    return set(request.session.get(SESSION_KEY, ()))


def _shown(request: Request) -> set[str]:
    fields = request.POST if request.method == "POST" else request.GET
    return set(fields.getlist(FIELD))
