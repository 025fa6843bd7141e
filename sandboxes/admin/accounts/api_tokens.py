"""API tokens in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from sandboxes.accounts import api_tokens
from sandboxes.admin.base import PortalAdmin, ReadOnlyAdminMixin
from sandboxes.admin.confirmations import ConfirmedAction, ReasonForm
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import ApiToken
from sandboxes.operators import audit
from sandboxes.operators.audit import AuditActor
from sandboxes.operators.privileges import require_control


def _revoke(token: ApiToken, actor: AuditActor, _data: dict[str, Any]) -> None:
    require_control(actor.user, token.user)
    if token.revoked_at:
        raise StateConflict("Already revoked. Nothing was changed.")
    api_tokens.revoke(token)


REVOKE = ConfirmedAction(
    "revoke", "Revoke", "revoked", ReasonForm, _revoke, lambda token: token.revoked_at is None
)


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdminMixin, PortalAdmin):
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
    search_help_text = "Name, prefix, or user's email address"
    ordering = ("-id",)
    confirmed_actions = (REVOKE,)
    fields = list_display

    def describe_row(self, row: ApiToken) -> tuple[str, str]:
        return str(row), audit.display_name(row.user)
