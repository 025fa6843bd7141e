"""System checks of who may have an account, and of the ways to sign in."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core import checks

from sandboxes.accounts import signup_policy

PROVIDERS = {
    "GITHUB_CLIENT_ID": ("GITHUB_CLIENT_SECRET",),
    "OIDC_CLIENT_ID": ("OIDC_CLIENT_SECRET", "OIDC_SERVER_URL"),
}
"""What says that a provider is used, and what it needs then."""


def check_accounts(**_: Any) -> list[checks.CheckMessage]:
    """Domains keep out whom they are to keep out; providers are set up wholly or not at all."""
    return [*_domains(), *_providers(), *_operators()]


def _domains() -> list[checks.CheckMessage]:
    found: list[checks.CheckMessage] = []
    for domain in signup_policy.allowed_domains():
        if not re.fullmatch(r"([a-z0-9-]+\.)+[a-z0-9-]+", domain):
            what = f"ACCOUNT_SIGNUP_DOMAINS: “{domain}” is no domain."
            hint = "Write domains alone, such as example.com,example.org."
            found.append(checks.Error(what, hint=hint, id="sandboxes.E009"))
    if signup_policy.allowed_domains() and settings.ACCOUNT_EMAIL_VERIFICATION != "mandatory":
        what = "ACCOUNT_SIGNUP_DOMAINS keeps nobody out: addresses are not confirmed."
        hint = "Set EMAIL_URL, and leave ACCOUNT_EMAIL_VERIFICATION at mandatory."
        found.append(checks.Error(what, hint=hint, id="sandboxes.E010"))
    return found


def _providers() -> list[checks.CheckMessage]:
    return [
        checks.Error(
            f"{client} is set, and {needed} is not: nobody could sign in with it.",
            hint=f"Set {needed}, or leave {client} away.",
            id="sandboxes.E011",
        )
        for client, more in PROVIDERS.items()
        for needed in more
        if getattr(settings, client) and not getattr(settings, needed)
    ]


def _operators() -> list[checks.CheckMessage]:
    if not settings.HTTPS or settings.OPERATORS_REQUIRE_MFA:
        return []
    what = "OPERATORS_REQUIRE_MFA is off: a password alone opens the console."
    hint = "Leave it away, and operators are asked to set one up when they next sign in."
    return [checks.Warning(what, hint=hint, id="sandboxes.W005")]
