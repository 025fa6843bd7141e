"""The overview on the first page of the admin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import template
from django.template.defaultfilters import floatformat

from sandboxes.operators.alerts import active_alerts, current_restrictions, sandbox_list
from sandboxes.operators.overview import HEIGHT, WIDTH, OperatorOverview

register = template.Library()

GB = 1024
MINUTE = 60


@register.inclusion_tag("admin/_overview.html", takes_context=True)
def overview(context: dict[str, Any]) -> dict[str, Any]:
    """Render the overview for operators who may view sandboxes."""
    request = context["request"]
    if not request.user.has_perm("sandboxes.view_sandbox"):
        return {"overview": None}
    summary = OperatorOverview()
    return {
        "overview": summary,
        "alerts": active_alerts(summary),
        "restrictions": current_restrictions(summary),
        "states": [(s, count, sandbox_list(state__exact=s)) for s, count in summary.states],
        "plot": {"width": WIDTH, "height": HEIGHT},
        "csrf_token": context.get("csrf_token"),
        "can_act": request.user.has_perm("sandboxes.change_sandbox"),
    }


@register.filter
def format_amount(value: float, unit: str) -> str:
    """Format a number with its unit, large numbers of MB as GB."""
    if unit == "MB" and value >= GB:
        return f"{floatformat(value / GB, -1)} GB"
    return f"{floatformat(value, -1)} {unit}".strip()


@register.filter
def timesince_short(age: timedelta) -> str:
    """Format a duration in seconds, or in minutes from two minutes on."""
    seconds = round(age.total_seconds())
    return f"{seconds} s" if seconds < 2 * MINUTE else f"{seconds // MINUTE} min"


@register.filter
def format_duration(seconds: float | None) -> str:
    return "—" if seconds is None else f"{seconds:.1f} s"
