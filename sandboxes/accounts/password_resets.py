"""Password resets: which addresses get a link, and which address a link proves.

A link is for an account, but it proves only the address that it was sent to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allauth.account.models import EmailAddress
from django.contrib.auth.tokens import PasswordResetTokenGenerator

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def is_recipient(user: User, email: str) -> bool:
    """Return whether a link for the account may be sent to this address of it.

    Anyone can add an address that isn't theirs. Its owner must not get into that account.
    """
    verified = EmailAddress.objects.filter(user=user, email__iexact=email, verified=True)
    return user.email.lower() == email.lower() or bool(verified.exists())


def proven_address(user: User, token: str) -> str:
    """Return the address that the token was sent to, or an empty string if it is invalid."""
    valid = (one for one in _addresses(user) if TokenGenerator(one).is_valid(user, token))
    return next(valid, "")


def _addresses(user: User) -> list[str]:
    records = EmailAddress.objects.filter(user=user).values_list("email", flat=True)
    return sorted({user.email.lower(), *(email.lower() for email in records)} - {""})


class TokenGenerator(PasswordResetTokenGenerator):
    """Tokens that are valid until the addresses of the account change.

    They are for the account's primary address, or for the `address`.
    """

    def __init__(self, address: str = "") -> None:
        super().__init__()
        self.address = address

    def check_token(self, user: User | None, token: str | None) -> bool:
        """Return whether the token is valid, for any of the user's addresses."""
        return bool(user and token and proven_address(user, token))

    def is_valid(self, user: User, token: str) -> bool:
        """Return whether the token is valid for the address."""
        return super().check_token(user, token)

    def _make_hash_value(self, user: User, timestamp: int) -> str:
        recipient = (self.address or user.email).lower()
        addresses = "|".join([*_addresses(user), recipient])
        return f"{super()._make_hash_value(user, timestamp)}|{addresses}"
