"""Report the end of a reset on pages without JavaScript, which can't poll for it.

The session remembers the reset; the next page that shows the sandbox has the result.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib import messages

from sandboxes.models import Sandbox
from sandboxes.representations import display
from sandboxes.views.helpers import Request

SESSION_KEY = "pending_resets"


def remember(request: Request, sandbox: Sandbox) -> None:
    pending = set(request.session.get(SESSION_KEY, ()))
    request.session[SESSION_KEY] = sorted(pending | {sandbox.public_id})


def report_finished(request: Request, sandboxes: Iterable[Sandbox]) -> None:
    """Add a message for each of these sandboxes whose remembered reset has ended."""
    pending = set(request.session.get(SESSION_KEY, ()))
    ended = [
        row for row in sandboxes if row.public_id in pending and row.reset_requested_at is None
    ]
    if not ended:
        return
    for row in ended:
        if result := display.reset_result(row):
            level = messages.SUCCESS if result.succeeded else messages.ERROR
            messages.add_message(request, level, result.message, extra_tags=row.public_id)
    request.session[SESSION_KEY] = sorted(pending - {row.public_id for row in ended})
