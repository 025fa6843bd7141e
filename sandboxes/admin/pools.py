"""The warm pools: how many, how old, paused or not; in force at once."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.formats import localize
from django.utils.timezone import localtime

from sandboxes import queue
from sandboxes.admin.base import EMPTY, PortalAdmin
from sandboxes.models import Pool, Sandbox, State
from sandboxes.pool import tasks as pool_tasks


@admin.register(Pool)
class PoolAdmin(PortalAdmin):
    list_display = (
        "blueprint",
        "switched_off",
        "wanted",
        "ready",
        "being_made",
        "paused",
        "trouble",
    )
    ordering = ("blueprint",)
    readonly_fields = ("blueprint", "ready", "being_made", "trouble")
    fieldsets: ClassVar = [
        (
            None,
            {
                "fields": ("blueprint", "switched_off", "size", "max_age_minutes", "paused"),
                "description": "Sandboxes that are made before anybody asks for them. They give "
                "way to people where memory or subnets are short.",
            },
        ),
        ("Now", {"fields": ("ready", "being_made", "trouble")}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pool]:
        rows: QuerySet[Pool] = super().get_queryset(request)
        stock = Sandbox.objects.for_pool()
        return rows.annotate(
            ready_now=_count(stock.pooled()),
            made_now=_count(stock.exclude(state=State.POOLED)),
        )

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """A worker hears of it at once."""
        super().save_model(request, obj, form, change)
        queue.enqueue(pool_tasks.reconcile_pools)

    @admin.display(description="kept ready")
    def wanted(self, row: Pool) -> int:
        return row.target_size

    @admin.display(description="ready now")
    def ready(self, row: Pool) -> int:
        return int(getattr(row, "ready_now", 0))

    @admin.display(description="being made")
    def being_made(self, row: Pool) -> int:
        return int(getattr(row, "made_now", 0))

    def trouble(self, row: Pool) -> str:
        if not row.version:
            return "No sweep has found its images yet."
        if row.retry_at is None:
            return EMPTY
        return f"{row.failures} failed in a row; next try {localize(localtime(row.retry_at))}"


def _count(rows: QuerySet[Sandbox]) -> Coalesce:
    """How many of them are of the pool's blueprint."""
    own = rows.filter(blueprint=OuterRef("blueprint")).order_by().values("blueprint")
    return Coalesce(Subquery(own.annotate(count=Count("pk")).values("count")), 0)
