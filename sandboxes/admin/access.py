"""Who may have how much, and with which tokens programs come in."""

from __future__ import annotations

from datetime import datetime

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from sandboxes import clock, tokens
from sandboxes.admin.base import LookOnly, PortalAdmin
from sandboxes.models import ApiToken, LimitOverride


@admin.register(LimitOverride)
class LimitOverrideAdmin(PortalAdmin):
    list_display = (
        "user_email",
        "max_active",
        "ttl_max_minutes",
        "idle_minutes",
        "until",
        "in_force",
        "reason",
    )
    list_select_related = ("user",)
    search_fields = ("user__email", "user__username", "reason")
    autocomplete_fields = ("user",)
    empty_value_display = "the site's"
    ordering = ("user__email",)
    fields = ("user", "max_active", "ttl_max_minutes", "idle_minutes", "expires_at", "reason")

    @admin.display(description="user", ordering="user__email")
    def user_email(self, row: LimitOverride) -> str:
        return row.user.email or row.user.get_username()

    @admin.display(empty_value="it is removed", ordering="expires_at")
    def until(self, row: LimitOverride) -> datetime | None:
        return row.expires_at

    @admin.display(boolean=True)
    def in_force(self, row: LimitOverride) -> bool:
        return row.expires_at is None or row.expires_at > clock.now()


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
    actions = ("revoke",)
    fields = list_display

    @admin.action(description="Revoke", permissions=["operate"])
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiToken]) -> None:
        for token in (live := list(rows.filter(revoked_at=None))):
            tokens.revoke(token)
            self.log_change(request, token, "Revoked")
        plural = "" if len(live) == 1 else "s"
        self.message_user(request, f"{len(live)} token{plural} revoked.", messages.SUCCESS)
