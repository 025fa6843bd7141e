"""Who may have an account: everybody, the addresses of some domains, those who were invited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.http import HttpRequest

from sandboxes.accounts import invitations
from sandboxes.models.runtime_settings import config

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def allowed_domains() -> list[str]:
    """The domains whose addresses may sign up; empty when all may."""
    listed = config.ACCOUNT_SIGNUP_DOMAINS.replace(",", " ").split()
    return [domain.lower().lstrip("@") for domain in listed]


def is_open(request: HttpRequest) -> bool:
    """Whether the page to sign up shows its form at all."""
    return bool(config.ACCOUNT_SIGNUP_OPEN) or invitations.current(request) is not None


def is_allowed(request: HttpRequest, email: str) -> bool:
    """Whether somebody with this address may sign up: a domain's, or the one that was invited."""
    invitation = invitations.current(request)
    if invitation and invitation.email == email.lower():
        return True
    return bool(config.ACCOUNT_SIGNUP_OPEN) and has_allowed_domain(email)


def has_allowed_domain(email: str) -> bool:
    known = allowed_domains()
    return not known or email.lower().rpartition("@")[2] in known


def require_allowed(request: HttpRequest, email: str) -> str:
    """The address if it may sign up. Raises ValidationError, which says which addresses may."""
    if is_allowed(request, email):
        return email
    if invitation := invitations.current(request):
        raise ValidationError(
            f"The invitation is for {invitation.email}; sign up with that address."
        )
    raise ValidationError(signup_rules_text())


def require_allowed_domain(user: User, email: str) -> str:
    """The address if this user may have it as another one. Raises ValidationError."""
    if has_allowed_domain(email) or user.email.lower() == email.lower():
        return email
    raise ValidationError(signup_rules_text())


def signup_rules_text() -> str:
    """Which addresses may have an account here."""
    named = ", ".join(allowed_domains())
    return f"Accounts here are for addresses of {named}, and for who was invited."
