"""Adapters for allauth: the sign-up rules, and encryption of two-factor secrets."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.http import Http404, HttpRequest

from sandboxes.accounts import invitations, signup_policy
from sandboxes.encryption.fields import get_fernet


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Apply the sign-up rules to accounts with a password."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return whether the sign-up form is shown."""
        return signup_policy.is_open(request)

    def is_email_verified(self, request: HttpRequest, email: str) -> bool:
        """Return whether the address is verified; opening an invitation's link verifies it."""
        invitation = invitations.current(request)
        invited = invitation is not None and invitation.email == email.lower()
        return invited or bool(super().is_email_verified(request, email))


class SocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Apply the sign-up rules to accounts from GitHub or single sign-on."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Return whether any address from the provider is allowed to sign up.

        If the provider sends no address, the sign-up form asks for one and checks it.
        """
        if not signup_policy.is_open(request):
            return any(
                signup_policy.is_allowed(request, email) for email in _trusted_emails(sociallogin)
            )
        addresses = sociallogin.email_addresses
        return not addresses or any(
            signup_policy.is_allowed(request, email) for email in _trusted_emails(sociallogin)
        )

    def get_app(self, *args: Any, **kwargs: Any) -> SocialApp:
        """Return the provider's configuration. Raises Http404 if the provider isn't set up."""
        try:
            return super().get_app(*args, **kwargs)
        except SocialApp.DoesNotExist as missing:
            raise Http404 from missing


def _trusted_emails(sociallogin: SocialLogin) -> list[str]:
    """Return the addresses that the provider verified, or that the user will have to verify."""
    must_verify = settings.ACCOUNT_EMAIL_VERIFICATION == "mandatory"
    return [
        address.email for address in sociallogin.email_addresses if address.verified or must_verify
    ]


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Encrypt two-factor secrets at rest, like the secrets of sandboxes."""

    def encrypt(self, text: str) -> str:
        """Return the encrypted text."""
        return get_fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return the decrypted text."""
        try:
            return get_fernet().decrypt(encrypted_text).decode()
        except InvalidToken:
            # Stored before secrets were encrypted: a ciphertext can't be a valid secret.
            return encrypted_text
