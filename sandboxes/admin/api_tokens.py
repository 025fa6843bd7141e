"""API tokens in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from sandboxes.accounts import api_tokens
from sandboxes.admin.base import LookOnly, PortalAdmin
from sandboxes.admin.confirmations import Question, ReasonForm
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import ApiToken
from sandboxes.operators import audit
from sandboxes.operators.audit import Operator


def _revoke(token: ApiToken, _by: Operator, _answers: dict[str, Any]) -> None:
    if token.revoked_at:
        raise StateConflict("It is revoked already; nothing was done.")
    api_tokens.revoke(token)


REVOKE = Question(
    "revoke", "Revoke", "revoked", ReasonForm, _revoke, lambda token: token.revoked_at is None
)


@admin.register(ApiToken)
class ApiTokenAdmin(LookOnly, PortalAdmin):
    list_display = (
        "name",
        "user",
        "prefix",
        "scope",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    list_filter = ("scope", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__email")
    search_help_text = "Name, first characters, or its user's e-mail address"
    ordering = ("-id",)
    questions = (REVOKE,)
    fields = list_display

    def told(self, row: ApiToken) -> tuple[str, str]:
        return str(row), audit.called(row.user)
