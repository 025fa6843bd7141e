"""The audit log: view and export. It can't be changed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sandboxes.admin.base import EMPTY, PortalAdmin, ReadOnlyAdminMixin, format_pairs
from sandboxes.models import AuditEntry
from sandboxes.operators.alerts import admin_time

COLUMNS = {
    "at": "at",
    "by": "actor",
    "address": "address",
    "act": "action",
    "kind": "model",
    "subject": "subject",
    "concerns": "affected_user",
    "reason": "reason",
    "changes": "changes",
}
"""Columns of the CSV export, and their fields. Programs rely on the names of the columns."""
ADMIN_PAGES = {
    "sandbox": "sandboxes_sandbox",
    "user": "auth_user",
    "group": "auth_group",
    "API token": "sandboxes_apitoken",
    "limit override": "sandboxes_limitoverride",
    "pool": "sandboxes_pool",
    "maintenance": "sandboxes_maintenance",
    "site": "sandboxes_maintenance",
    "webhook": "sandboxes_webhook",
}
"""Admin pages of subjects by kind; other subjects have no permanent page."""
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")


class Echo:
    """A file-like object that returns each line instead of storing it."""

    def write(self, line: str) -> str:
        return line


@admin.register(AuditEntry)
class AuditAdmin(ReadOnlyAdminMixin, PortalAdmin):
    list_display = ("date", "action", "subject_link", "actor", "reason")
    list_filter = ("action", "model", "at")
    search_fields = ("actor", "subject", "affected_user", "reason")
    search_help_text = "Operator, subject, affected user, or reason"
    ordering = ("-at", "-id")
    change_list_template = "admin/sandboxes/auditentry/change_list.html"
    fields = (
        "at",
        ("actor", "address"),
        "action",
        ("model", "subject_link"),
        "affected_user",
        "reason",
        "what_changed",
    )

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        return lookup == "subject_key" or super().lookup_allowed(lookup, value, request)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export)
        return [path("export/", view, name="sandboxes_auditentry_export"), *super().get_urls()]

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """Export all entries that match the list's filters as CSV."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows = self.get_changelist_instance(request).queryset
        response = StreamingHttpResponse(_lines(rows.iterator(2000)), content_type="text/csv")
        response["Content-Disposition"] = 'attachment; filename="audit.csv"'
        return response

    @admin.display(description="date", ordering="at")
    def date(self, row: AuditEntry) -> str:
        return admin_time(row.at)

    @admin.display(description="subject", ordering="subject")
    def subject_link(self, row: AuditEntry) -> SafeString | str:
        try:
            url = reverse(f"admin:{ADMIN_PAGES[row.model]}_change", args=[row.subject_key])
        except (KeyError, NoReverseMatch):
            return row.subject
        return format_html('<a href="{}">{}</a>', url, row.subject)

    def what_changed(self, row: AuditEntry) -> str:
        return format_pairs(
            {name: f"{was or EMPTY} → {now}" for name, (was, now) in row.changes.items()}
        )


def _lines(rows: Iterable[AuditEntry]) -> Iterator[str]:
    writer = csv.writer(Echo())
    yield writer.writerow(COLUMNS)
    for row in rows:
        values = [getattr(row, field) for field in COLUMNS.values()]
        values[0] = row.at.isoformat(timespec="seconds")
        yield writer.writerow([escape_formula(value) for value in values])


def escape_formula(value: object) -> str:
    """Escape text that a spreadsheet would run as a formula."""
    text = "" if value in (None, {}) else str(value)
    return f"'{text}" if text.startswith(FORMULA_PREFIXES) else text
