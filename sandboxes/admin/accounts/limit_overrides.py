"""Limits of single users and groups."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin

from sandboxes.admin.base import PortalAdmin
from sandboxes.admin.confirmations import ConfirmedAction, ReasonForm
from sandboxes.lib import clock
from sandboxes.models import LimitOverride
from sandboxes.operators import audit
from sandboxes.operators.audit import AuditActor


def _remove(override: LimitOverride, _actor: AuditActor, _data: dict[str, Any]) -> None:
    override.delete()


REMOVE = ConfirmedAction("remove", "Remove", "removed", ReasonForm, _remove, permission="delete")


@admin.register(LimitOverride)
class LimitOverrideAdmin(PortalAdmin):
    list_display = (
        "subject",
        "max_active",
        "ttl_max_minutes",
        "idle_minutes",
        "until",
        "in_force",
        "reason",
    )
    list_select_related = ("user", "group")
    search_fields = ("user__email", "user__username", "group__name", "reason")
    autocomplete_fields = ("user", "group")
    empty_value_display = "default"
    ordering = ("user__email", "group__name")
    fields = (
        "user",
        "group",
        "max_active",
        "ttl_max_minutes",
        "idle_minutes",
        "expires_at",
        "reason",
    )
    confirmed_actions = (REMOVE,)

    @admin.display(description="user or group", ordering="user__email")
    def subject(self, row: LimitOverride) -> str:
        return audit.display_name(row.user) or f"group {row.group}"

    @admin.display(description="expires", empty_value="never", ordering="expires_at")
    def until(self, row: LimitOverride) -> datetime | None:
        return row.expires_at

    @admin.display(boolean=True)
    def in_force(self, row: LimitOverride) -> bool:
        return row.expires_at is None or row.expires_at > clock.now()
