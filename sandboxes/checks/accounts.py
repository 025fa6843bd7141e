"""System checks of sign-up and sign-in providers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import checks

from sandboxes.accounts import signup_policy
from sandboxes.lib import branding, support

PROVIDERS = {
    "GITHUB_CLIENT_ID": ("GITHUB_CLIENT_SECRET",),
    "OIDC_CLIENT_ID": ("OIDC_CLIENT_SECRET", "OIDC_SERVER_URL"),
}
"""Settings that enable a provider, and the settings that it needs."""


def check_accounts(**_: Any) -> list[checks.CheckMessage]:
    """Check the settings of sign-up, sign-in providers, operators, contact, name and logo."""
    return [*_domains(), *_providers(), *_takeovers(), *_operators(), *_support(), *_branding()]


def _domains() -> list[checks.CheckMessage]:
    found: list[checks.CheckMessage] = []
    for domain in signup_policy.allowed_domains():
        if not re.fullmatch(r"([a-z0-9-]+\.)+[a-z0-9-]+", domain):
            text = f"ACCOUNT_SIGNUP_DOMAINS: “{domain}” isn't a domain."
            hint = "List domains only, such as example.com,example.org."
            found.append(checks.Error(text, hint=hint, id="sandboxes.E009"))
    if signup_policy.allowed_domains() and settings.ACCOUNT_EMAIL_VERIFICATION != "mandatory":
        text = "ACCOUNT_SIGNUP_DOMAINS has no effect, since email addresses aren't verified."
        hint = "Set EMAIL_URL, and keep ACCOUNT_EMAIL_VERIFICATION at mandatory."
        found.append(checks.Error(text, hint=hint, id="sandboxes.E010"))
    return found


def _providers() -> list[checks.CheckMessage]:
    return [
        checks.Error(
            f"{client} is set, but {needed} isn't, so sign-in would fail.",
            hint=f"Set {needed}, or unset {client}.",
            id="sandboxes.E011",
        )
        for client, more in PROVIDERS.items()
        for needed in more
        if getattr(settings, client) and not getattr(settings, needed)
    ]


def _takeovers() -> Iterator[checks.CheckMessage]:
    """Check that no user can prepare an account for the owner of an email address."""
    if settings.ACCOUNT_CONFIRM_EMAIL_ON_GET:
        text = "ACCOUNT_CONFIRM_EMAIL_ON_GET: a mail scanner can verify an address for a stranger."
        yield checks.Error(text, hint="Unset it.", id="sandboxes.E012")
    for name, options in settings.SOCIALACCOUNT_PROVIDERS.items():
        if options.get("VERIFIED_EMAIL"):
            text = f"VERIFIED_EMAIL of {name}: the provider's unverified addresses are trusted."
            yield checks.Error(text, hint="Remove it.", id="sandboxes.E013")
    if settings.SOCIALACCOUNT_PROVIDERS and settings.ACCOUNT_EMAIL_VERIFICATION != "mandatory":
        text = "Anyone can create an account with the address of a user of the sign-in provider."
        hint = (
            "Such an account loses the address when its owner signs in. To prevent it, set "
            "EMAIL_URL, and keep ACCOUNT_EMAIL_VERIFICATION at mandatory."
        )
        yield checks.Warning(text, hint=hint, id="sandboxes.W007")


def _operators() -> list[checks.CheckMessage]:
    if not settings.HTTPS or settings.OPERATORS_REQUIRE_MFA:
        return []
    text = "OPERATORS_REQUIRE_MFA is off, so a password alone gives access to the admin."
    hint = "Unset it; operators then set up two-factor authentication at their next sign-in."
    return [checks.Warning(text, hint=hint, id="sandboxes.W005")]


def _support() -> list[checks.CheckMessage]:
    contact = settings.SUPPORT_CONTACT
    if not contact or support.is_valid_contact(contact):
        return []
    text = f"SUPPORT_CONTACT: “{contact}” is neither an email address nor an http(s) URL."
    hint = "Set it to, for example, help@example.com or https://example.com/help, or unset it."
    return [checks.Error(text, hint=hint, id="sandboxes.E020")]


def _branding() -> Iterator[checks.CheckMessage]:
    if not branding.is_valid_name(settings.PORTAL_NAME):
        most = branding.MAX_NAME_LENGTH
        text = f"PORTAL_NAME isn't a name of 1 to {most} printable characters."
        yield checks.Error(text, hint="Shorten it, or unset it.", id="sandboxes.E021")
    if not settings.PORTAL_LOGO:
        return
    try:
        branding.read_logo(settings.PORTAL_LOGO)
    except branding.InvalidLogo as error:
        text = f"PORTAL_LOGO: {error} The portal's own logo is shown."
        hint = "Set it to the path of an image that the portal's processes may read, or unset it."
        yield checks.Error(text, hint=hint, id="sandboxes.E022")
