"""The banner that warns of what ends soon, on every page."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import template
from django.http import HttpRequest

from sandboxes import actions
from sandboxes.lib import clock
from sandboxes.models import Clock, Preferences, Sandbox, SandboxWarning
from sandboxes.models.runtime_settings import settings
from sandboxes.notifications import emails

if TYPE_CHECKING:
    from django.contrib.auth.models import User

register = template.Library()

CARDS = "cards"
"""Where every sandbox has a card on the page, which says the same and has the same buttons."""


@register.inclusion_tag("sandboxes/_warning_banners.html", takes_context=True)
def warnings(context: dict[str, Any], where: str = "") -> dict[str, Any]:
    """The banners for whoever asks; `where` is `cards`, or the id of the sandbox that is shown."""
    request: HttpRequest | None = context.get("request")
    user = getattr(request, "user", None)
    if request is None or user is None or not user.is_authenticated:
        return {}
    # With a card for each sandbox, only the browser's notification is left to do: a moment later.
    found = [] if where == CARDS else emails.standing(user)
    return shown_warnings(found, user, where)


def shown_warnings(found: list[SandboxWarning], user: User, where: str) -> dict[str, Any]:
    """What the template needs. A quiet one is on the page for the browser's notification alone."""
    return {
        "where": where,
        "seen": ".".join(str(warning.pk) for warning in found),
        "banners": list(_banners(found, where)),
        "notify": bool(found) and Preferences.of(user).browser,
    }


def _banners(found: Iterable[SandboxWarning], where: str) -> Iterable[dict[str, Any]]:
    for warning in found:
        sandbox = warning.sandbox
        idle = warning.clock == Clock.IDLE
        yield {
            "warning": warning,
            "sandbox": sandbox,
            "idle": idle,
            "minutes": 0 if idle else _offer(sandbox),
            "seconds_left": int((warning.deadline - clock.now()).total_seconds()),
            "quiet": where in (CARDS, sandbox.public_id),
        }


def _offer(sandbox: Sandbox) -> int:
    """How many minutes its owner can still have; 0: none."""
    if sandbox.extensions.filter(by_operator=False).exists():
        return 0
    most = actions.extension_preview(sandbox, settings.SANDBOX_EXTENSION_MAX_MINUTES)
    return most // timedelta(minutes=1)
