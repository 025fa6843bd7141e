"""What the portal's admin pages share: looking without touching, and how values are shown."""

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
    """Rows are made and changed by the portal alone, never by hand."""

    def has_add_permission(self, *_: object) -> bool:
        return False

    def has_change_permission(self, *_: object) -> bool:
        return False

    def has_delete_permission(self, *_: object) -> bool:
        return False


class CappedPaginator(BasePaginator):
    """The pages that an operator may leaf through; what lies further is for a search or a filter.

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
        """Whether there are more rows than these pages hold."""
        return self._counted > MAX_COUNTED


class CappedChangeList(ChangeList):
    """A list that tells no number as if it were all of them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.paginator.has_more:
            # Django's template says how many were found unless that is all there are.
            self.full_result_count = self.result_count


class PortalAdmin(AuditedModelAdmin):
    """Lists that stay quick with many rows; actions and forms that ask why."""

    confirmed_actions: tuple[ConfirmedAction, ...] = ()
    """What operators may do to its rows, to many from the list and to one from its page."""

    paginator = CappedPaginator
    show_full_result_count = False
    empty_value_display = EMPTY
    list_per_page = 50

    class Media:
        css = {"all": ["styles/admin.css"]}  # noqa: RUF012 - Django's own form

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return CappedChangeList

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Questions alone: what Django brings along asks for no reason."""
        if IS_POPUP_VAR in request.GET:
            return {}
        return {
            action.name: (action.run, action.name, f"{action.title}…")
            for action in self.confirmed_actions
            if self.has_action_permission(request, action)
        }

    def has_action_permission(self, request: HttpRequest, action: ConfirmedAction) -> bool:
        """Whether the user may answer this action."""
        name = f"{self.opts.app_label}.{action.permission}_{self.opts.model_name}"
        return request.user.is_active and request.user.has_perm(name)

    def describe_row(self, row: Any) -> tuple[str, str]:
        """What a row is called where a action is asked about it, and more about it."""
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
    """A mapping as lines of `name: value`."""
    return format_html_join("", "<div>{}: {}</div>", values.items()) or SafeString(EMPTY)
