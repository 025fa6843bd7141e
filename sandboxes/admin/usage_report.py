"""The usage report: launches, failures and hours by month, user and blueprint."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.http import require_GET

from sandboxes.admin.audit import escape_formula
from sandboxes.models import Sandbox
from sandboxes.models.runtime_settings import config
from sandboxes.usage import report

if TYPE_CHECKING:
    from sandboxes.admin.base import PortalAdmin as Base
else:
    Base = object

COLUMNS = (
    "month",
    "user",
    "blueprint",
    "launches",
    "failures",
    "sandbox_hours",
    "memory_gb_hours",
)
"""Columns of the CSV export. Programs rely on their names."""


MAX_SHOWN = 500
"""Lines on the page; the export has all."""


class UsageReportMixin(Base):
    """Adds the report to the admin of sandboxes."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_GET(self.usage_report))
        return [path("usage/", view, name="sandboxes_sandbox_usage"), *super().get_urls()]

    def usage_report(self, request: HttpRequest) -> HttpResponse:
        """Show the report, or with `?format=csv` export it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        lines = report.lines(Sandbox.objects.all())
        if request.GET.get("format") == "csv":
            response = HttpResponse(_csv(lines), content_type="text/csv")
            response["Content-Disposition"] = 'attachment; filename="usage.csv"'
            return response
        months = report.by_month(lines)
        context: dict[str, Any] = self.admin_site.each_context(request) | {
            "title": "Usage",
            "opts": self.opts,
            "media": self.media,
            "lines": lines[:MAX_SHOWN],
            "omitted": max(0, len(lines) - MAX_SHOWN),
            "months": months.items(),
            "most_launches": max((totals.launches for totals in months.values()), default=0),
            "most_hours": max((totals.hours for totals in months.values()), default=0),
            "days": config.SANDBOX_RETENTION_DAYS,
        }
        return render(request, "admin/usage_report.html", context)


def _csv(lines: list[report.Line]) -> str:
    file = StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for line in lines:
        totals = line.totals
        writer.writerow(
            [
                f"{line.month:%Y-%m}",
                escape_formula(line.user),
                escape_formula(line.blueprint),
                totals.launches,
                totals.failures,
                f"{totals.hours:.2f}",
                f"{totals.memory_gb_hours:.2f}",
            ]
        )
    return file.getvalue()
