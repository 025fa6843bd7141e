"""Who owns an account: proof of an email address, and what a change of the owner revokes.

Anyone can create an account with an address that isn't theirs. Until the address is verified, the
user who proves that they own it must not share the account with its creator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from allauth.account.models import EmailAddress
from allauth.account.utils import filter_users_by_email
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import transaction

from sandboxes.accounts import api_tokens

if TYPE_CHECKING:
    from django.contrib.auth.models import User

log = structlog.get_logger(__name__)


def is_proven(user: User, email: str) -> bool:
    """Return whether a user who proves that they own the address may open the account.

    An address without a record of its own was entered by an operator, who creates accounts for
    other people.
    """
    address = EmailAddress.objects.filter(user=user, email__iexact=email).first()
    return address.verified if address else True


def has_verified_email(user: User) -> bool:
    return bool(EmailAddress.objects.filter(user=user, verified=True).exists())


def is_claimed_by_operator(email: str) -> bool:
    """Return whether an operator's account has this address without having verified it."""
    return any(user.is_staff and not is_proven(user, email) for user in _holders(email))


def _holders(email: str) -> list[User]:
    users: list[User] = filter_users_by_email(email)
    return users


@transaction.atomic
def release_address(email: str) -> None:
    """Take the address away from accounts that never verified it, so that its owner can use it.

    An account that loses its primary address also loses its access.
    """
    for user in _holders(email):
        if is_proven(user, email):
            continue
        EmailAddress.objects.filter(user=user, email__iexact=email).delete()
        if user.email.lower() == email.lower():
            user.email = ""
            user.save(update_fields=["email"])
            revoke_all(user)
        log.warning("address_released", user_id=user.pk)


@transaction.atomic
def revoke_all(user: User, keep_email: str = "") -> None:
    """Revoke everything with which an earlier holder of the account could still use it.

    That is sessions, tokens, the password, webhooks, second factors, connected providers, and all
    addresses except `keep_email`.
    """
    end_sessions(user)
    if user.has_usable_password() and not keep_email:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    revoke_programs(user)
    Authenticator.objects.filter(user=user).delete()
    SocialAccount.objects.filter(user=user).delete()
    EmailAddress.objects.filter(user=user).exclude(email__iexact=keep_email).delete()


def record_proof(user: User, email: str) -> None:
    """Mark the address of the account as verified."""
    EmailAddress.objects.get(user=user, email__iexact=email).set_verified()


def sign_out_everywhere(user: User, keep_session: str | None = None) -> None:
    """End all sessions of the user except `keep_session`, and revoke all API tokens."""
    end_sessions(user, keep_session)
    api_tokens.revoke_all(user)


def revoke_programs(user: User) -> None:
    """Revoke the API tokens and delete the webhooks of the user."""
    api_tokens.revoke_all(user)
    user.webhooks.all().delete()


def end_sessions(user: User, keep_session: str | None = None) -> None:
    """Sign the user out in all browsers except the one with this session."""
    rows = UserSession.objects.filter(user=user).exclude(session_key=keep_session or "")
    keys = list(rows.values_list("session_key", flat=True))
    Session.objects.filter(session_key__in=keys).delete()
    rows.delete()
