"""The banner on every page that warns of sandboxes that end soon."""

from __future__ import annotations

from typing import Any

from django import template
from django.http import HttpRequest

from sandboxes.notifications import sandbox_warnings
from sandboxes.views.warning_banner import CARDS, warning_banners_context

register = template.Library()


@register.inclusion_tag("sandboxes/_warning_banners.html", takes_context=True)
def warnings(context: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Render the user's banners; `where` is `cards`, or the id of the sandbox that is shown."""
    request: HttpRequest | None = context.get("request")
    user = getattr(request, "user", None)
    if request is None or user is None or not user.is_authenticated:
        return {}
    # Cards show the warnings themselves; the page fetches the browser notifications later.
    found = [] if where == CARDS else sandbox_warnings.active_warnings(user)
    return warning_banners_context(found, user, where)
