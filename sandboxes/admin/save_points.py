"""Save points, and which of them are starting points."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from sandboxes.actions import save_points
from sandboxes.admin.base import PortalAdmin, ReadOnlyAdminMixin
from sandboxes.admin.confirmations import ConfirmedAction, ReasonForm
from sandboxes.models import SavePoint
from sandboxes.operators.audit import AuditActor


def _offer(row: SavePoint, _actor: AuditActor, _data: dict[str, Any]) -> None:
    save_points.make_starting_point(row, wanted=True)


def _withdraw(row: SavePoint, _actor: AuditActor, _data: dict[str, Any]) -> None:
    save_points.make_starting_point(row, wanted=False)


def _delete(row: SavePoint, _actor: AuditActor, _data: dict[str, Any]) -> None:
    save_points.delete(row)


OFFER = ConfirmedAction(
    "offer",
    "Make a starting point",
    "offered to everybody; it doesn't expire",
    ReasonForm,
    _offer,
    lambda row: row.is_ready and not row.is_starting_point,
)
WITHDRAW = ConfirmedAction(
    "withdraw",
    "Withdraw starting point",
    "withdrawn; only its owner may launch from it, until it expires",
    ReasonForm,
    _withdraw,
    lambda row: row.is_ready and row.is_starting_point,
)
DELETE = ConfirmedAction(
    "delete-save-point", "Delete", "deleted", ReasonForm, _delete, lambda row: row.is_ready
)


@admin.register(SavePoint)
class SavePointAdmin(ReadOnlyAdminMixin, PortalAdmin):
    list_display = ("name", "public_id", "owner", "blueprint", "state", "size", "expires_at")
    list_display_links = ("name", "public_id")
    list_filter = ("state", "is_starting_point", "blueprint")
    list_select_related = ("owner",)
    search_fields = ("public_id", "name", "owner__username")
    ordering = ("-created_at", "-pk")
    confirmed_actions = (OFFER, WITHDRAW, DELETE)
    fields = (
        "name",
        "public_id",
        "owner",
        "sandbox",
        "blueprint",
        "blueprint_version",
        "engine",
        "state",
        "error",
        "size",
        "pause_seconds",
        "is_starting_point",
        "created_at",
        "expires_at",
    )
    readonly_fields = ("size",)

    def describe_row(self, row: SavePoint) -> tuple[str, str]:
        return str(row), row.state

    @admin.display(description="size", ordering="size_bytes")
    def size(self, row: SavePoint) -> str:
        return f"{row.size_mb:.1f} MB"
