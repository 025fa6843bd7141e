"""What the portal's admin pages share: looking without touching, and how values are shown."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    Pages = Paginator[Any]
else:
    ModelAdmin = admin.ModelAdmin
    TabularInline = admin.TabularInline
    Pages = Paginator


NOTHING = "—"
MOST_COUNTED = 5_000


class LookOnly:
    """Rows are made and changed by the portal alone, never by hand."""

    def has_add_permission(self, *_: object) -> bool:
        return False

    def has_change_permission(self, *_: object) -> bool:
        return False

    def has_delete_permission(self, *_: object) -> bool:
        return False


class FirstPages(Pages):
    """The pages that an operator may leaf through; what lies further is for a search or a filter.

    Counting a million rows takes longer than showing fifty of them.
    """

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[: MOST_COUNTED + 1].count())

    @property
    def count(self) -> int:
        return min(self._counted, MOST_COUNTED)

    @property
    def goes_on(self) -> bool:
        """Whether there are more rows than these pages hold."""
        return self._counted > MOST_COUNTED


class PortalList(ChangeList):
    """A list that tells no number as if it were all of them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.paginator.goes_on:
            # Django's template says how many were found unless that is all there are.
            self.full_result_count = self.result_count


class PortalAdmin(ModelAdmin):
    """Lists that stay quick with many rows, and a permission for the actions on them."""

    paginator = FirstPages
    show_full_result_count = False
    empty_value_display = NOTHING
    list_per_page = 50

    class Media:
        css = {"all": ["admin-portal.css"]}  # noqa: RUF012 - Django's own form

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return PortalList

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the user may carry out this page's actions; editing by hand nobody may."""
        name = f"{self.opts.app_label}.change_{self.opts.model_name}"
        return request.user.is_active and request.user.has_perm(name)


def preformatted(text: str) -> SafeString:
    return format_html("<pre>{}</pre>", text)


def pairs(values: Mapping[str, object]) -> SafeString:
    """A mapping as lines of `name: value`."""
    return format_html_join("", "<div>{}: {}</div>", values.items()) or SafeString(NOTHING)
