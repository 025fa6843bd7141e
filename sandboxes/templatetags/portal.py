"""Template tags and filters of the portal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from allauth.account.models import EmailAddress
from django import template
from django.forms import BoundField
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sandboxes import runtime
from sandboxes.blueprints import host_label
from sandboxes.lib import clock
from sandboxes.lib.untrusted_json import dumps_pretty, loads
from sandboxes.models import Sandbox, WebhookDelivery
from sandboxes.representations import display, labels
from sandboxes.views.forms import new_key
from sandboxes.webhooks.messages import body_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

register = template.Library()
register.simple_tag(new_key, name="new_key")
register.filter(host_label)
register.filter(labels.label)
register.filter(labels.phrase)

FORMATS = {
    "time": "%H:%M UTC",
    "clock": "%H:%M:%S UTC",
    "date": "%d %b %Y",
    "datetime": "%d %b %Y, %H:%M UTC",
    "seconds": "%d %b %Y, %H:%M:%S UTC",
    "ago": "%d %b %Y, %H:%M UTC",
}
"""Time formats without JavaScript; portal.js has formats of the same names."""
STATE_LABELS = {
    "pending": "Queued",
    "provisioning": "Provisioning",
    "pooled": "Pooled",
    "running": "Running",
    "destroying": "Destroying",
    "destroyed": "Ended",
    "failed": "Failed",
}
MAX_KEY_LENGTH = 16
GB = 1024
"""Megabytes."""
HOUR = 60
"""Minutes."""
A_WEEK = timedelta(days=7)
SECONDS_SHOWN_BELOW = 600
"""Durations below this, in seconds, are shown with their seconds."""


@register.inclusion_tag("sandboxes/_trial_mode_notice.html")
def trial_mode() -> dict[str, str]:
    """Render a notice if sandboxes run as processes of the server, without isolation."""
    return {"words": "" if runtime.is_isolated() else display.TRIAL_MODE}


@register.simple_tag
def moment(at: datetime, form: str = "datetime") -> SafeString:
    """Render a `<time>` in UTC, which portal.js converts to local time."""
    utc = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}" data-format="{}" title="{}">{}</time>',
        utc.isoformat(timespec="seconds"),
        form,
        f"{utc:{FORMATS['seconds']}}",
        f"{utc:{FORMATS[form]}}",
    )


@register.simple_tag
def sentence(parts: Iterable[str | datetime]) -> SafeString:
    """Render a sentence of a `Deadline`, with times as `<time>` elements."""
    rendered = ((part if isinstance(part, str) else moment(part, "time"),) for part in parts)
    return format_html_join("", "{}", rendered)


@register.simple_tag
def countdown(seconds: int, form: str = "") -> SafeString:
    """Render the remaining time, which portal.js counts down; `rough` if it is an estimate."""
    if form == "rough":
        return format_html(
            '<span data-seconds-left="{}" data-approximate>{}</span>',
            seconds,
            approx_duration(seconds),
        )
    return format_html('<span data-seconds-left="{}">{}</span>', seconds, remaining_time(seconds))


@register.filter
def remaining_time(seconds: int) -> str:
    """Format a remaining time in seconds, in the same format as portal.js."""
    if seconds < SECONDS_SHOWN_BELOW:
        return f"{seconds // 60}:{seconds % 60:02}"
    hours, minutes = divmod(-(-seconds // 60), HOUR)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


@register.filter
def approx_duration(seconds: int) -> str:
    """Format an estimated duration in seconds, rounded to minutes."""
    return (
        f"{max(1, round(seconds / 60))} min"
        if seconds < SECONDS_SHOWN_BELOW
        else remaining_time(seconds)
    )


@register.simple_tag
def unverified_addresses(user: User) -> list[EmailAddress]:
    """Return the user's email addresses that aren't verified."""
    return list(EmailAddress.objects.filter(user=user, verified=False).order_by("-primary", "pk"))


@register.filter
def is_past(at: datetime | None) -> bool:
    return at is not None and at <= clock.now()


@register.filter
def humanize_key(name: str) -> str:
    """Replace the underscores of a configuration key with spaces."""
    return name.replace("_", " ")


@register.filter
def format_minutes(minutes: int) -> str:
    """Format a number of minutes in hours if possible."""
    return f"{minutes} min" if minutes % HOUR else f"{minutes // HOUR} h"


@register.filter
def format_megabytes(megabytes: int) -> str:
    return f"{megabytes} MB" if megabytes % GB else f"{megabytes // GB} GB"


@register.filter
def state_label(sandbox: Sandbox) -> str:
    return STATE_LABELS[sandbox.state]


@register.simple_tag
def badge(sandbox: Sandbox) -> SafeString:
    """Render the state of a sandbox."""
    html = '<span class="badge badge-{}">{}</span>'
    return format_html(html, sandbox.state, state_label(sandbox))


@register.filter
def abbreviate(key: str) -> str:
    """Shorten a long key to its two ends."""
    return key if len(key) <= MAX_KEY_LENGTH else f"{key[:6]}…{key[-6:]}"


@register.filter
def is_http_url(address: str) -> bool:
    return address.startswith(("http://", "https://"))


@register.filter
def elapsed(began: datetime) -> float:
    """Return the seconds from then until now."""
    return max(0.0, (clock.now() - began).total_seconds())


@register.simple_tag
def form_control(field: BoundField, **attributes: Any) -> SafeString:
    """Render a form field's widget with these attributes instead of its own."""
    return field.as_widget(attrs=attributes)


@register.filter
def parse_datetime(text: str) -> datetime:
    """Parse an ISO 8601 time, as JSON contains it."""
    return datetime.fromisoformat(text)


@register.filter
def message_body(delivery: WebhookDelivery) -> str:
    """Return the webhook message as it was sent, or as it will be sent."""
    return body_of(delivery)


@register.filter
def pretty_json(text: str) -> str:
    """Return JSON with indentation; other text, such as JSON that was cut, as it is."""
    try:
        return dumps_pretty(loads(text.encode(errors="replace")))
    except ValueError:
        return text


@register.filter
def is_soon(at: datetime | None) -> bool:
    """Return whether the time is within the next week."""
    return at is not None and clock.now() < at <= clock.now() + A_WEEK
