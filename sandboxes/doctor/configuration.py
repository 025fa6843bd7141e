"""What Django's checks, those for deployment among them, say of the settings."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.core.checks.registry import registry

from sandboxes.checks.runtime import ENGINE
from sandboxes.doctor.engine import from_check
from sandboxes.doctor.findings import Findings, ok, warning

HTTPS_CHECKS = {"security.W004", "security.W008", "security.W012", "security.W016"}
"""What the lack of HTTPS brings about, and HTTPS mends at once."""


def django_checks() -> Findings:
    tags = sorted(set(registry.tags_available(deployment_checks=True)) - {ENGINE})
    yield from evaluate(checks.run_checks(tags=tags, include_deployment_checks=True))


def evaluate(messages: list[CheckMessage]) -> Findings:
    seen = [one for one in messages if not one.is_silenced()]
    yield from (from_check(one) for one in seen if one.id not in HTTPS_CHECKS)
    if any(one.id in HTTPS_CHECKS for one in seen):
        yield warning(
            "Without HTTPS everybody on the way reads along.",
            "Good for one machine. For others put a proxy in front, and set SITE_URL to https://…",
        )
    if not seen:
        yield ok("Django finds nothing wrong with the settings, nor do the portal's own checks.")


def debug() -> Findings:
    if not settings.DEBUG:
        yield ok("DEBUG is off.")
    elif _is_this_machine(urlsplit(settings.SITE_URL).hostname or ""):
        yield warning("DEBUG is on.", "Never let others reach this portal.")
    else:
        yield from [from_check(checks.Error("DEBUG is on.", "Unset it.", id="security.W018"))]


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
