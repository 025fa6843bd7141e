"""What the portal's admin pages share: looking without touching, and how values are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    ModelAdmin = admin.ModelAdmin
    TabularInline = admin.TabularInline


NOTHING = "—"


class LookOnly:
    """Rows are made and changed by the portal alone, never by hand."""

    def has_add_permission(self, *_: object) -> bool:
        return False

    def has_change_permission(self, *_: object) -> bool:
        return False

    def has_delete_permission(self, *_: object) -> bool:
        return False


class PortalAdmin(ModelAdmin):
    """Lists that stay quick with many rows, and a permission for the actions on them."""

    show_full_result_count = False
    empty_value_display = NOTHING
    list_per_page = 50

    class Media:
        css = {"all": ["admin-portal.css"]}  # noqa: RUF012 - Django's own form

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the user may carry out this page's actions; editing by hand nobody may."""
        name = f"{self.opts.app_label}.change_{self.opts.model_name}"
        return request.user.is_active and request.user.has_perm(name)


def preformatted(text: str) -> SafeString:
    return format_html("<pre>{}</pre>", text)


def pairs(values: Mapping[str, object]) -> SafeString:
    """A mapping as lines of `name: value`."""
    return format_html_join("", "<div>{}: {}</div>", values.items()) or SafeString(NOTHING)
