"""Account forms: email addresses are checked against the sign-up rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allauth.account.forms import AddEmailForm as AllauthAddEmailForm
from allauth.account.forms import ChangePasswordForm as AllauthChangePasswordForm
from allauth.account.forms import ResetPasswordForm as AllauthResetPasswordForm
from allauth.account.forms import ResetPasswordKeyForm as AllauthResetPasswordKeyForm
from allauth.account.forms import SetPasswordForm as AllauthSetPasswordForm
from allauth.account.forms import SignupForm as AllauthSignupForm
from allauth.core import context
from allauth.socialaccount.forms import SignupForm as AllauthProviderSignupForm
from django.forms import BooleanField, Field
from django.http import HttpRequest

from sandboxes.accounts import invitations, ownership, password_resets, signup_policy

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class SignUpForm(AllauthSignupForm):  # type: ignore[misc]
    """Sign up with a password. An invitation sets the address."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if invitation := invitations.current(context.request):
            self.fields["email"].initial = invitation.email
            self.fields["email"].widget.attrs["readonly"] = True
        elif signup_policy.allowed_domains():
            self.fields["email"].help_text = signup_policy.signup_rules_text()

    def clean_email(self) -> str:
        signup_policy.require_allowed(context.request, self.cleaned_data["email"])
        return str(super().clean_email())


class ProviderSignUpForm(AllauthProviderSignupForm):  # type: ignore[misc]
    """Sign up through a provider that sent no email address."""

    def clean_email(self) -> str:
        signup_policy.require_allowed(context.request, self.cleaned_data["email"])
        return str(super().clean_email())


class AddEmailForm(AllauthAddEmailForm):  # type: ignore[misc]
    """Add an email address to an account."""

    def clean_email(self) -> str:
        signup_policy.require_allowed_domain(self.user, self.cleaned_data["email"])
        return str(super().clean_email())


class NewPasswordMixin:
    """Labels in sentence case, and an option to end what the old password gave access to."""

    sign_out_by_default = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Field] = self.fields  # type: ignore[attr-defined]
        fields["password1"].label = "New password"
        fields["password2"].label = "Confirm new password"
        fields["sign_out_everywhere"] = BooleanField(
            required=False,
            initial=self.sign_out_by_default,
            label="Sign out everywhere else and revoke all API tokens",
        )

    def save(self) -> None:
        super().save()  # type: ignore[misc]
        if self.cleaned_data["sign_out_everywhere"]:  # type: ignore[attr-defined]
            session = context.request.session.session_key
            ownership.sign_out_everywhere(self.user, session)  # type: ignore[attr-defined]


class ChangePasswordForm(NewPasswordMixin, AllauthChangePasswordForm):  # type: ignore[misc]
    """Change the password, given the current one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["oldpassword"].label = "Current password"


class ResetPasswordForm(AllauthResetPasswordForm):  # type: ignore[misc]  # allauth has no types
    """Ask for a link by email with which to set a new password."""

    users: list[User]

    def clean_email(self) -> str:
        email = str(super().clean_email())
        self.users = [user for user in self.users if password_resets.is_recipient(user, email)]
        return email

    def save(self, request: HttpRequest, **options: Any) -> str:
        generator = password_resets.TokenGenerator(self.cleaned_data["email"])
        return str(super().save(request, **options | {"token_generator": generator}))


class ResetPasswordKeyForm(NewPasswordMixin, AllauthResetPasswordKeyForm):  # type: ignore[misc]
    """Set a new password after following the link in an email.

    The link proves the address that it was sent to. If the account never verified it, someone else
    may have created the account, so nothing but the address and the new password remains valid.
    """

    sign_out_by_default = True

    def save(self) -> None:
        # The new password makes the link invalid.
        address = password_resets.proven_address(self.user, self.temp_key)
        super().save()
        if not ownership.is_proven(self.user, address):
            ownership.revoke_all(self.user, keep_email=address)
            ownership.record_proof(self.user, address)


class SetPasswordForm(NewPasswordMixin, AllauthSetPasswordForm):  # type: ignore[misc]
    """Set the first password of an account that has signed in with a provider only."""
