"""Users' webhooks and their deliveries, read-only and without secrets."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from sandboxes.admin.base import PortalAdmin, ReadOnlyAdminMixin, preformatted
from sandboxes.admin.confirmations import ConfirmedAction, ReasonForm
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import DisabledReason, Webhook, WebhookDelivery
from sandboxes.operators import audit
from sandboxes.operators.audit import AuditActor
from sandboxes.webhooks.delivery import disable


def _disable(webhook: Webhook, _actor: AuditActor, _data: dict[str, Any]) -> None:
    if not webhook.is_enabled:
        raise StateConflict("Already disabled. Nothing was changed.")
    disable(webhook, DisabledReason.OPERATOR)


DISABLE = ConfirmedAction(
    "switch_off",
    "Disable",
    "disabled",
    ReasonForm,
    _disable,
    lambda hook: hook.is_enabled,
)


@admin.register(Webhook)
class WebhookAdmin(ReadOnlyAdminMixin, PortalAdmin):
    list_display = ("public_id", "user", "host", "status", "failing_since", "created_at")
    list_filter = ("disabled_reason", ("failing_since", admin.EmptyFieldListFilter))
    list_select_related = ("user",)
    search_fields = ("public_id", "name", "url", "user__email")
    search_help_text = "ID, name, URL, or user's email address"
    ordering = ("-id",)
    confirmed_actions = (DISABLE,)
    fields = (
        "public_id",
        "user",
        "name",
        "host",
        "events",
        "status",
        "disabled_reason",
        "failing_since",
        "previous_until",
        "created_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("secrets")

    @admin.display(description="host", ordering="url")
    def host(self, row: Webhook) -> str:
        """Return the host only; the path may contain a secret of the receiver."""
        return urlsplit(row.url).hostname or ""

    def describe_row(self, row: Webhook) -> tuple[str, str]:
        return str(row), audit.display_name(row.user)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdminMixin, PortalAdmin):
    list_display = ("message_id", "type", "webhook", "status", "attempts", "due_at", "created_at")
    list_filter = ("status", "type")
    list_select_related = ("webhook",)
    search_fields = ("message_id", "webhook__public_id", "webhook__user__email")
    search_help_text = "Message ID, webhook ID, or user's email address"
    ordering = ("-id",)
    fields = (
        "message_id",
        "webhook",
        "type",
        "status",
        "attempts",
        "due_at",
        "created_at",
        "results",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("webhook__secrets", "body")

    @admin.display(description="attempts")
    def results(self, row: WebhookDelivery) -> str:
        """List attempts without the receiver's responses, which belong to the webhook's owner."""
        lines = (f"{t['at']}  {t['status'] or t['error']}  {t['seconds']} s" for t in row.log)
        return preformatted("\n".join(lines))
