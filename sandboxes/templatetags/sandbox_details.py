"""Template filters of a sandbox's page: journal, logs, and usage."""

from __future__ import annotations

import re
from datetime import timedelta

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sandboxes.models import Event, EventKind
from sandboxes.views import snippets
from sandboxes.views.sandbox_card import Card
from sandboxes.views.snippets import Snippet

register = template.Library()

ICONS: dict[str, str] = {
    EventKind.REQUESTED: "send",
    EventKind.PROVISIONING: "hammer",
    EventKind.RUNNING: "circle-check",
    EventKind.POOLED: "package",
    EventKind.EXTENDED: "clock-plus",
    EventKind.TOUCHED: "timer-reset",
    EventKind.RENAMED: "pencil",
    EventKind.AGENT_CALL: "bot",
    EventKind.RESET_REQUESTED: "rotate-ccw",
    EventKind.RESET: "rotate-ccw",
    EventKind.SAVED: "save",
    EventKind.SAVE_FAILED: "circle-alert",
    EventKind.RESTORED: "archive-restore",
    EventKind.RESTORE_FAILED: "circle-alert",
    EventKind.RESET_FAILED: "circle-x",
    EventKind.CLOCK_CHANGED: "clock",
    EventKind.EVENT_CREATED: "send",
    EventKind.EVENT_REPLAYED: "rotate-cw",
    EventKind.ENDPOINT_CHANGED: "webhook",
    EventKind.CREDENTIALS_READ: "key-round",
    EventKind.FUNDING_ASKED: "coins",
    EventKind.FUNDING_PENDING: "hourglass",
    EventKind.FUNDING_FUNDED: "coins",
    EventKind.FUNDING_FAILED: "circle-x",
    EventKind.WARNED: "bell",
    EventKind.DELAYED: "hourglass",
    EventKind.REVIVED: "heart-pulse",
    EventKind.UNHEALTHY: "heart-pulse",
    EventKind.UNREACHABLE: "unplug",
    EventKind.REACHABLE: "plug",
    EventKind.MESSAGE: "message-square",
    EventKind.ENDING: "power",
    EventKind.REMOVAL_ASKED: "trash-2",
    EventKind.REMOVAL_DELAYED: "hourglass",
    EventKind.DESTROYED: "archive",
    EventKind.FAILED: "circle-x",
}
"""Icons by kind of event; other kinds have a dot."""
ANY_ICON = "dot"
NOT_MEASURED = "\N{EN DASH}"
MINUTE, HOUR = 60, 3600
"""Seconds."""


@register.simple_tag
def first_command(card: Card) -> Snippet | None:
    """Return the command for a first call, with the sandbox's key."""
    return snippets.first_command(card)


@register.filter
def expects_command(card: Card) -> bool:
    return card.is_provisioning and snippets.expects_command(card)


@register.filter
def icon(event: Event) -> str:
    return ICONS.get(event.kind, ANY_ICON)


@register.filter
def format_timedelta(value: timedelta) -> str:
    """Format a duration, rounded to its two largest units."""
    seconds = max(0, int(value.total_seconds()))
    if seconds < MINUTE:
        return f"{seconds} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE} min"
    hours, rest = divmod(seconds, HOUR)
    return f"{hours} h {rest // MINUTE} min"


@register.filter
def format_number(value: float | None, digits: int = 0) -> str:
    """Format a number; return a dash for None."""
    return NOT_MEASURED if value is None else f"{value:,.{digits}f}"


@register.filter
def format_bytes(count: float | None) -> str:
    """Format a number of bytes."""
    if count is None:
        return NOT_MEASURED
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.1f} KB"


@register.filter
def highlight(lines: list[str], words: str) -> SafeString:
    """Join the lines and wrap matches in `<mark>`."""
    return format_html_join("\n", "{}", ((_marked(line, words),) for line in lines))


def _marked(line: str, words: str) -> str:
    if not words:
        return line
    parts = enumerate(re.split(f"({re.escape(words)})", line, flags=re.IGNORECASE))
    # `re.split` puts the matches at odd positions.
    return format_html_join("", "{}", ((_mark(p) if n % 2 else p,) for n, p in parts))


def _mark(found: str) -> SafeString:
    return format_html("<mark>{}</mark>", found)
