"""Sign-up rules: open to everyone, limited to email domains, or by invitation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.http import HttpRequest

from sandboxes.accounts import invitations
from sandboxes.models.runtime_settings import config

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def allowed_domains() -> list[str]:
    """Return the email domains that may sign up; empty if all may."""
    listed = config.ACCOUNT_SIGNUP_DOMAINS.replace(",", " ").split()
    return [domain.lower().lstrip("@") for domain in listed]


def is_open(request: HttpRequest) -> bool:
    """Return whether the sign-up form is shown."""
    return bool(config.ACCOUNT_SIGNUP_OPEN) or invitations.current(request) is not None


def is_allowed(request: HttpRequest, email: str) -> bool:
    """Return whether this address may sign up: by its domain or by the current invitation."""
    invitation = invitations.current(request)
    if invitation and invitation.email == email.lower():
        return True
    return bool(config.ACCOUNT_SIGNUP_OPEN) and has_allowed_domain(email)


def has_allowed_domain(email: str) -> bool:
    """Return whether the domain of this address may sign up."""
    domains = allowed_domains()
    return not domains or email.lower().rpartition("@")[2] in domains


def require_allowed(request: HttpRequest, email: str) -> str:
    """Return the address. Raises ValidationError with the sign-up rules if it may not sign up."""
    if is_allowed(request, email):
        return email
    if invitation := invitations.current(request):
        raise ValidationError(
            f"This invitation is for {invitation.email}. Sign up with that address."
        )
    raise ValidationError(signup_rules_text())


def require_allowed_domain(user: User, email: str) -> str:
    """Return the address. Raises ValidationError if the user may not add it to their account."""
    if has_allowed_domain(email) or user.email.lower() == email.lower():
        return email
    raise ValidationError(signup_rules_text())


def signup_rules_text() -> str:
    """Return a sentence on which addresses may sign up."""
    domains = ", ".join(allowed_domains())
    return f"Sign-up is limited to {domains} addresses and invited users."
