"""Adapters for allauth: the sign-up rules, and encryption of two-factor secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context as allauth_context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base import AuthProcess
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib import messages
from django.contrib.sites.shortcuts import get_current_site
from django.http import Http404, HttpRequest
from django.shortcuts import redirect

from sandboxes.accounts import account_mails, invitations, ownership, sign_in_limits, signup_policy
from sandboxes.encryption.fields import get_fernet

if TYPE_CHECKING:
    from django.contrib.auth.models import User

UNVERIFIED_OPERATOR = (
    "An operator's account uses this address, but hasn't verified it. Sign in with the password, "
    "verify the address, and connect the provider under “Sign-in methods”."
)


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

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send the email, now or once the mail server is back."""
        request = allauth_context.request
        known = {"request": request, "email": email, "current_site": get_current_site(request)}
        account_mails.send_or_queue(self.render_mail(template_prefix, email, known | context))

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count an attempt to sign in. Raises ValidationError after too many failed ones."""
        login = str(credentials.get("email") or credentials.get("username") or "")
        self._attempt = sign_in_limits.consume(request, login)
        if self._attempt is None:
            raise self.validation_error("too_many_login_attempts")

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """Return the user whose password is right, or None."""
        # A refused attempt verifies the password all the same, so that it takes as long.
        user: User | None = super().authenticate(request, **credentials)
        return None if self._attempt is None or self._attempt.is_refused else user

    def _rollback_login_failed_rl_usage(self) -> None:
        """Don't count the attempt, since the password is right."""
        if self._attempt and not self._attempt.is_refused:
            self._attempt.succeed()

    def _delete_login_attempts_cached_email(
        self, _request: HttpRequest, **credentials: Any
    ) -> None:
        """Forget failed attempts after the password was reset by email."""
        sign_in_limits.clear(str(credentials.get("email", "")))


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

    def authenticate_by_email(self, sociallogin: SocialLogin) -> tuple[User, str] | None:
        """Return the account with an address of the provider, if it has verified the address."""
        found = super().authenticate_by_email(sociallogin)
        return found if found and ownership.is_proven(*found) else None

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Take the addresses that the provider verified away from accounts that didn't.

        Otherwise, their owner couldn't sign in. Raises ImmediateHttpResponse for an address of an
        operator.
        """
        super().pre_social_login(request, sociallogin)
        if sociallogin.state.get("process") != AuthProcess.LOGIN:
            return
        if sociallogin.is_existing:
            if not sociallogin.account.pk and not ownership.has_verified_email(sociallogin.user):
                # The first sign-in to an account that an operator created; allauth ends its
                # sessions and its password.
                ownership.revoke_programs(sociallogin.user)
            return
        if not self.is_open_for_signup(request, sociallogin):
            return
        for address in sociallogin.email_addresses:
            if not address.verified:
                continue
            if ownership.is_claimed_by_operator(address.email):
                messages.error(request, UNVERIFIED_OPERATOR)
                raise ImmediateHttpResponse(redirect("account_login"))
            ownership.release_address(address.email)

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

    error_messages: ClassVar = {
        **DefaultMFAAdapter.error_messages,
        "unverified_email": "Verify your email address first.",
        "add_email_blocked": (
            "Addresses can't be added while two-factor authentication is on. Turn it off, add and "
            "verify the address, and turn it on again."
        ),
    }

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
