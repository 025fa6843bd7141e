"""Warm pools: size, maximum age, and pausing. Changes apply at once."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from sandboxes.admin.base import EMPTY, PortalAdmin
from sandboxes.lib import queue
from sandboxes.models import Pool, Sandbox, State
from sandboxes.operators.alerts import admin_time
from sandboxes.pool import tasks as pool_tasks


@admin.register(Pool)
class PoolAdmin(PortalAdmin):
    list_display = (
        "blueprint",
        "switched_off",
        "wanted",
        "ready",
        "starting",
        "paused",
        "problem",
    )
    ordering = ("blueprint",)
    readonly_fields = ("blueprint", "ready", "starting", "problem")
    fieldsets: ClassVar = [
        (
            None,
            {
                "fields": ("blueprint", "switched_off", "size", "max_age_minutes", "paused"),
                "description": "Sandboxes that are launched in advance, so that users get them at "
                "once. They are removed if requested launches need their memory or subnets.",
            },
        ),
        ("Status", {"fields": ("ready", "starting", "problem")}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pool]:
        rows: QuerySet[Pool] = super().get_queryset(request)
        in_pool = Sandbox.objects.for_pool()
        return rows.annotate(
            ready_now=_count(in_pool.pooled()),
            starting_now=_count(in_pool.exclude(state=State.POOLED)),
        )

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Save, and let a worker reconcile the pools at once."""
        super().save_model(request, obj, form, change)
        queue.enqueue(pool_tasks.reconcile_pools)

    @admin.display(description="target")
    def wanted(self, row: Pool) -> int:
        return row.target_size

    @admin.display(description="ready")
    def ready(self, row: Pool) -> int:
        return int(getattr(row, "ready_now", 0))

    @admin.display(description="starting")
    def starting(self, row: Pool) -> int:
        return int(getattr(row, "starting_now", 0))

    @admin.display(description="problem")
    def problem(self, row: Pool) -> str:
        if not row.version:
            return "No sweep has checked the images yet."
        if row.retry_at is None:
            return EMPTY
        return f"{row.failures} consecutive failures; next attempt {admin_time(row.retry_at)}"


def _count(rows: QuerySet[Sandbox]) -> Coalesce:
    """Count the rows of the pool's blueprint."""
    own = rows.filter(blueprint=OuterRef("blueprint")).order_by().values("blueprint")
    return Coalesce(Subquery(own.annotate(count=Count("pk")).values("count")), 0)
