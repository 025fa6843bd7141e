"""What the admin's first page shows of the portal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import template
from django.template.defaultfilters import floatformat

from sandboxes.operators.alerts import active_alerts, sandbox_list
from sandboxes.operators.overview import HEIGHT, WIDTH, OperatorOverview

register = template.Library()

GB = 1024
MINUTE = 60


@register.inclusion_tag("admin/_overview.html", takes_context=True)
def overview(context: dict[str, Any]) -> dict[str, Any]:
    """The console, for who may look at sandboxes."""
    request = context["request"]
    if not request.user.has_perm("sandboxes.view_sandbox"):
        return {"overview": None}
    summary = OperatorOverview()
    return {
        "overview": summary,
        "alerts": active_alerts(summary),
        "states": [(s, count, sandbox_list(state__exact=s)) for s, count in summary.states],
        "plot": {"width": WIDTH, "height": HEIGHT},
        "csrf_token": context.get("csrf_token"),
        "can_act": request.user.has_perm("sandboxes.change_sandbox"),
    }


@register.filter
def format_amount(value: float, unit: str) -> str:
    """A number with its unit, megabytes as gigabytes where there are many."""
    if unit == "MB" and value >= GB:
        return f"{floatformat(value / GB, -1)} GB"
    return f"{floatformat(value, -1)} {unit}".strip()


@register.filter
def timesince_short(age: timedelta) -> str:
    """How old something is, in seconds where those matter."""
    seconds = round(age.total_seconds())
    return f"{seconds} s" if seconds < 2 * MINUTE else f"{seconds // MINUTE} min"


@register.filter
def format_duration(seconds: float | None) -> str:
    return "—" if seconds is None else f"{seconds:.1f} s"
