"""Account forms: email addresses are checked against the sign-up rules."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import AddEmailForm as AllauthAddEmailForm
from allauth.account.forms import ChangePasswordForm as AllauthChangePasswordForm
from allauth.account.forms import ResetPasswordKeyForm as AllauthResetPasswordKeyForm
from allauth.account.forms import SetPasswordForm as AllauthSetPasswordForm
from allauth.account.forms import SignupForm as AllauthSignupForm
from allauth.core import context
from allauth.socialaccount.forms import SignupForm as AllauthProviderSignupForm
from django.forms import Field

from sandboxes.accounts import invitations, signup_policy


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


class NewPasswordLabelsMixin:
    """Labels in sentence case, where allauth has title case."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Field] = self.fields  # type: ignore[attr-defined]
        fields["password1"].label = "New password"
        fields["password2"].label = "Confirm new password"


class ChangePasswordForm(NewPasswordLabelsMixin, AllauthChangePasswordForm):  # type: ignore[misc]
    """Change the password, given the current one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["oldpassword"].label = "Current password"


class ResetPasswordKeyForm(NewPasswordLabelsMixin, AllauthResetPasswordKeyForm):  # type: ignore[misc]
    """Set a new password after following the link in an email."""


class SetPasswordForm(NewPasswordLabelsMixin, AllauthSetPasswordForm):  # type: ignore[misc]
    """Set the first password of an account that has signed in with a provider only."""
