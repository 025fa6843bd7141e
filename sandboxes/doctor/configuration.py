"""Django's checks of the settings, including those for deployment."""

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
"""Checks that fail without HTTPS; one finding replaces them."""


def django_checks() -> Findings:
    tags = sorted(set(registry.tags_available(deployment_checks=True)) - {ENGINE})
    yield from evaluate(checks.run_checks(tags=tags, include_deployment_checks=True))


def evaluate(messages: list[CheckMessage]) -> Findings:
    seen = [one for one in messages if not one.is_silenced()]
    yield from (from_check(one) for one in seen if one.id not in HTTPS_CHECKS)
    if any(one.id in HTTPS_CHECKS for one in seen):
        yield warning(
            "Traffic isn't encrypted (no HTTPS).",
            "Fine on a single machine. Otherwise, put a TLS proxy in front and set SITE_URL to https://…",
        )
    if not seen:
        yield ok("All checks of the settings passed.")


def debug() -> Findings:
    if not settings.DEBUG:
        yield ok("DEBUG is off.")
    elif _is_this_machine(urlsplit(settings.SITE_URL).hostname or ""):
        yield warning("DEBUG is on.", "Don't expose this portal to others.")
    else:
        yield from [from_check(checks.Error("DEBUG is on.", "Unset it.", id="security.W018"))]


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
