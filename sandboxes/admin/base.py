"""Base classes of the portal's admin pages, and formatting of values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sandboxes.admin.audited import AuditedModelAdmin
from sandboxes.admin.confirmations import ConfirmedAction

if TYPE_CHECKING:
    TabularInline = admin.TabularInline[Any, Any]
    BasePaginator = Paginator[Any]
else:
    TabularInline = admin.TabularInline
    BasePaginator = Paginator


EMPTY = "—"
MAX_COUNTED = 5_000


class ReadOnlyAdminMixin:
    """Forbids adding, changing and deleting rows; only the portal writes them."""

    def has_add_permission(self, *_: object) -> bool:
        return False

    def has_change_permission(self, *_: object) -> bool:
        return False

    def has_delete_permission(self, *_: object) -> bool:
        return False


class CappedPaginator(BasePaginator):
    """Limits pagination to the first MAX_COUNTED rows; operators search or filter for others.

    Counting a million rows takes longer than showing fifty of them.
    """

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[: MAX_COUNTED + 1].count())

    @property
    def count(self) -> int:
        return min(self._counted, MAX_COUNTED)

    @property
    def has_more(self) -> bool:
        """Whether there are more rows than the pages contain."""
        return self._counted > MAX_COUNTED


class CappedChangeList(ChangeList):
    """A change list that doesn't claim that the capped count is the total."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.paginator.has_more:
            # Django's template shows the count unless it equals this.
            self.full_result_count = self.result_count


class PortalAdmin(AuditedModelAdmin):
    """Fast lists with many rows, and actions and forms that require a reason."""

    confirmed_actions: tuple[ConfirmedAction, ...] = ()
    """Actions for selected rows of the list, and for a row on its page."""

    paginator = CappedPaginator
    show_full_result_count = False
    empty_value_display = EMPTY
    list_per_page = 50

    class Media:
        css = {"all": ["styles/admin.css"]}  # noqa: RUF012 - Django's own form

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return CappedChangeList

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return the confirmed actions only; Django's own don't ask for a reason."""
        if IS_POPUP_VAR in request.GET:
            return {}
        return {
            action.name: (action.run, action.name, f"{action.title}…")
            for action in self.confirmed_actions
            if self.has_action_permission(request, action)
        }

    def has_action_permission(self, request: HttpRequest, action: ConfirmedAction) -> bool:
        """Return whether the user has the permission that the action needs."""
        permission = f"{self.opts.app_label}.{action.permission}_{self.opts.model_name}"
        return request.user.is_active and request.user.has_perm(permission)

    def describe_row(self, row: Any) -> tuple[str, str]:
        """Return the row's name and details for the confirmation page."""
        return str(row), ""

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if row := kwargs.get("obj"):
            context["confirmed_actions"] = [
                action
                for action in self.confirmed_actions
                if action.applies_to(row) and self.has_action_permission(request, action)
            ]
        return super().render_change_form(request, context, *args, **kwargs)


def preformatted(text: str) -> SafeString:
    return format_html("<pre>{}</pre>", text)


def format_pairs(values: Mapping[str, object]) -> SafeString:
    """Format a mapping as lines of `name: value`."""
    return format_html_join("", "<div>{}: {}</div>", values.items()) or SafeString(EMPTY)
