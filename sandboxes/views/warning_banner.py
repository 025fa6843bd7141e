"""The warning banner's context, shared by the template tag and its view."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sandboxes.core import limits
from sandboxes.lib import clock
from sandboxes.models import DeadlineKind, Preferences, Sandbox, SandboxWarning
from sandboxes.models.runtime_settings import config

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CARDS = "cards"
"""Value of `where` on pages with a card for each sandbox, which shows the same warning."""


def warning_banners_context(found: list[SandboxWarning], user: User, where: str) -> dict[str, Any]:
    """Return the template's context. Quiet banners only trigger browser notifications."""
    return {
        "where": where,
        "etag": ".".join(str(warning.pk) for warning in found),
        "banners": list(_banners(found, where)),
        "notify": bool(found) and Preferences.for_user(user).browser,
    }


def _banners(found: Iterable[SandboxWarning], where: str) -> Iterable[dict[str, Any]]:
    for warning in found:
        sandbox = warning.sandbox
        idle = warning.deadline_kind == DeadlineKind.IDLE
        yield {
            "warning": warning,
            "sandbox": sandbox,
            "idle": idle,
            "minutes": 0 if idle else _extension_minutes(sandbox),
            "seconds_left": int((warning.deadline - clock.now()).total_seconds()),
            "quiet": where in (CARDS, sandbox.public_id),
        }


def _extension_minutes(sandbox: Sandbox) -> int:
    """Return the minutes that the owner can still extend by; 0 if none."""
    if sandbox.extensions.filter(by_operator=False).exists():
        return 0
    most = limits.extension_preview(sandbox, config.SANDBOX_EXTENSION_MAX_MINUTES)
    return most // timedelta(minutes=1)
