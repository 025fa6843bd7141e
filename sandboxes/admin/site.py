"""The one row that holds for the whole portal: maintenance, and how the reaper fares."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from sandboxes import presentation
from sandboxes.admin.base import PortalAdmin
from sandboxes.models import Site


@admin.register(Site)
class SiteAdmin(PortalAdmin):
    readonly_fields = ("reaped_at", "reaper_error", "engine", "isolation", "hard_disk_limit")
    fieldsets: ClassVar = [
        (
            "Maintenance",
            {
                "fields": ("drained_until", "drain_message"),
                "description": "Until then nobody can launch; what runs goes on running.",
            },
        ),
        ("As the reaper found it", {"fields": readonly_fields}),
    ]

    @admin.display(description="Isolation")
    def isolation(self, site: Site) -> str:  # noqa: ARG002 - it holds for the whole portal
        if presentation.is_isolated():
            return "Every sandbox has its own network and its own limits."
        return presentation.TRIAL_MODE

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:  # noqa: ARG002
        """There is one row, so the list is that row."""
        return redirect("admin:sandboxes_site_change", Site.current().pk)
