"""How people get an account."""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from sandboxes.models.tuning import settings


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Signing up is open unless `ACCOUNT_SIGNUP_OPEN` says otherwise."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002 - allauth's signature
        return bool(settings.ACCOUNT_SIGNUP_OPEN)
