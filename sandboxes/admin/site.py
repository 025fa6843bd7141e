"""The one row that holds for the whole portal: maintenance, and how the reaper fares."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from sandboxes.admin.base import PortalAdmin
from sandboxes.models import Site


@admin.register(Site)
class SiteAdmin(PortalAdmin):
    readonly_fields = ("reaped_at", "reaper_error", "engine", "hard_disk_limit")
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

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:  # noqa: ARG002
        """There is one row, so the list is that row."""
        return redirect("admin:sandboxes_site_change", Site.current().pk)
