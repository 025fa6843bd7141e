"""The banner that warns of what ends soon, on every page."""

from __future__ import annotations

from typing import Any

from django import template
from django.http import HttpRequest

from sandboxes.notifications import sandbox_warnings
from sandboxes.views.warning_banner import CARDS, warning_banners_context

register = template.Library()


@register.inclusion_tag("sandboxes/_warning_banners.html", takes_context=True)
def warnings(context: dict[str, Any], where: str = "") -> dict[str, Any]:
    """The banners for whoever asks; `where` is `cards`, or the id of the sandbox that is shown."""
    request: HttpRequest | None = context.get("request")
    user = getattr(request, "user", None)
    if request is None or user is None or not user.is_authenticated:
        return {}
    # With a card for each sandbox, only the browser's notification is left to do: a moment later.
    found = [] if where == CARDS else sandbox_warnings.active_warnings(user)
    return warning_banners_context(found, user, where)
