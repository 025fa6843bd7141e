"""What templates of the portal need beyond Django's own tags."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django import template
from django.forms import BoundField
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sandboxes import runtime
from sandboxes.lib import clock
from sandboxes.models import Sandbox
from sandboxes.representations import display
from sandboxes.views.forms import new_key

register = template.Library()
register.simple_tag(new_key, name="new_key")

FORMATS = {
    "time": "%H:%M UTC",
    "clock": "%H:%M:%S UTC",
    "date": "%d %b %Y",
    "datetime": "%d %b %Y, %H:%M UTC",
    "seconds": "%d %b %Y, %H:%M:%S UTC",
    "ago": "%d %b %Y, %H:%M UTC",
}
"""How moments are written without JavaScript; portal.js knows the same names."""
ENDPOINT_LABELS = {
    "api": "API",
    "docs": "API docs",
    "database": "Database",
}
STATE_LABELS = {
    "pending": "Queued",
    "provisioning": "Provisioning",
    "pooled": "Pooled",
    "running": "Running",
    "destroying": "Destroying",
    "destroyed": "Ended",
    "failed": "Failed",
}
CREDENTIAL_LABELS = {
    "api_key": "API key",
    "database_url": "Database URL",
    "stellar_secret": "Stellar secret",
}
MAX_KEY_LENGTH = 16
GB = 1024
"""Megabytes."""
HOUR = 60
"""Minutes."""
A_WEEK = timedelta(days=7)
SECONDS_SHOWN_BELOW = 600
"""So many seconds before the end, seconds begin to matter."""


@register.inclusion_tag("sandboxes/_trial_mode_notice.html")
def trial_mode() -> dict[str, str]:
    """A line that says so, where sandboxes are processes of the portal's machine."""
    return {"words": "" if runtime.is_isolated() else str(display.TRIAL_MODE)}


@register.simple_tag
def moment(at: datetime, form: str = "datetime") -> SafeString:
    """A `<time>` in UTC, which portal.js turns into the reader's zone."""
    return format_html(
        '<time datetime="{}" data-format="{}" title="{}">{}</time>',
        at.astimezone(UTC).isoformat(timespec="seconds"),
        form,
        f"{at.astimezone(UTC):%d %b %Y, %H:%M:%S} UTC",
        f"{at.astimezone(UTC):{FORMATS[form]}}",
    )


@register.simple_tag
def sentence(parts: Iterable[str | datetime]) -> SafeString:
    """Render the `summary_parts` of a `Deadline`, with times as `<time>` elements."""
    rendered = ((part if isinstance(part, str) else moment(part, "time"),) for part in parts)
    return format_html_join("", "{}", rendered)


@register.simple_tag
def countdown(seconds: int, form: str = "") -> SafeString:
    """The seconds that are left, in words that portal.js lets tick; `rough` for a guess."""
    if form == "rough":
        return format_html(
            '<span data-seconds-left="{}" data-approximate>{}</span>',
            seconds,
            approx_duration(seconds),
        )
    return format_html('<span data-seconds-left="{}">{}</span>', seconds, remaining_time(seconds))


@register.filter
def remaining_time(seconds: int) -> str:
    """How much time that is, as fine as matters; portal.js goes on in the same form."""
    if seconds < SECONDS_SHOWN_BELOW:
        return f"{seconds // 60}:{seconds % 60:02}"
    hours, minutes = divmod(-(-seconds // 60), HOUR)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


@register.filter
def approx_duration(seconds: int) -> str:
    """How long a wait may be, in no more detail than it can be known."""
    return (
        f"{max(1, round(seconds / 60))} min"
        if seconds < SECONDS_SHOWN_BELOW
        else remaining_time(seconds)
    )


@register.filter
def is_past(at: datetime | None) -> bool:
    return at is not None and at <= clock.now()


@register.filter
def humanize_key(name: str) -> str:
    """A name from a configuration file as people read it."""
    return name.replace("_", " ")


@register.filter
def format_minutes(minutes: int) -> str:
    """A whole number of minutes, short enough for a button."""
    return f"{minutes} min" if minutes % HOUR else f"{minutes // HOUR} h"


@register.filter
def format_megabytes(megabytes: int) -> str:
    return f"{megabytes} MB" if megabytes % GB else f"{megabytes // GB} GB"


@register.filter
def endpoint_label(name: str) -> str:
    return ENDPOINT_LABELS.get(name, humanize_key(name).capitalize())


@register.filter
def state_label(sandbox: Sandbox) -> str:
    return STATE_LABELS[sandbox.state]


@register.filter
def abbreviate(key: str) -> str:
    """Both ends of a long key, enough to compare it by eye."""
    return key if len(key) <= MAX_KEY_LENGTH else f"{key[:6]}…{key[-6:]}"


@register.filter
def is_http_url(address: str) -> bool:
    return address.startswith(("http://", "https://"))


@register.filter
def credential_label(name: str) -> str:
    return str(CREDENTIAL_LABELS.get(name, humanize_key(name).capitalize()))


@register.filter
def elapsed(began: datetime) -> float:
    """Seconds from then until now."""
    return max(0.0, (clock.now() - began).total_seconds())


@register.simple_tag
def form_control(field: BoundField, **attributes: Any) -> SafeString:
    """The field's control with these attributes in place of its own."""
    return field.as_widget(attrs=attributes)


@register.filter
def parse_datetime(text: str) -> datetime:
    """A moment as JSON holds it."""
    return datetime.fromisoformat(text)


@register.filter
def pretty_json(text: str) -> str:
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False)


@register.filter
def is_soon(at: datetime | None) -> bool:
    """Within a week, and not past."""
    return at is not None and clock.now() < at <= clock.now() + A_WEEK
