"""What we tell allauth about accounts: who gets one, and how secrets of theirs are kept."""

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
    """Who may sign up, with a password or with a provider."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return signup_policy.is_open(request)

    def is_email_verified(self, request: HttpRequest, email: str) -> bool:
        """Who came by the link in an invitation can read the mail of that address."""
        invitation = invitations.current(request)
        invited = invitation is not None and invitation.email == email.lower()
        return invited or bool(super().is_email_verified(request, email))


class SocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Who may sign up with GitHub or by single sign-on."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """One of the addresses that the provider vouches for is admitted.

        Where there is none at all, the form asks for one, and decides.
        """
        if not signup_policy.is_open(request):
            return any(
                signup_policy.is_allowed(request, address)
                for address in _trusted_emails(sociallogin)
            )
        known = sociallogin.email_addresses
        return not known or any(
            signup_policy.is_allowed(request, one) for one in _trusted_emails(sociallogin)
        )

    def get_app(self, *args: Any, **kwargs: Any) -> SocialApp:
        """Raises Http404: a provider that is not set up has no page."""
        try:
            return super().get_app(*args, **kwargs)
        except SocialApp.DoesNotExist as missing:
            raise Http404 from missing


def _trusted_emails(sociallogin: SocialLogin) -> list[str]:
    """The addresses that are known to be theirs, or that we will have confirmed."""
    asked = settings.ACCOUNT_EMAIL_VERIFICATION == "mandatory"
    return [one.email for one in sociallogin.email_addresses if one.verified or asked]


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Keys of second factors are encrypted at rest like the secrets of sandboxes."""

    def encrypt(self, text: str) -> str:
        return get_fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return get_fernet().decrypt(encrypted_text).decode()
        except InvalidToken:
            # One that was set up before they were encrypted; a cipher text is no such key.
            return encrypted_text
