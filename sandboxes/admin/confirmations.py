"""The page between an action and what it does: operators say why, and the audit keeps it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite, helpers
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.http import url_has_allowed_host_and_scheme

from sandboxes.admin.audited import audit_actor, reason_field
from sandboxes.lib.exceptions import ServiceError
from sandboxes.operators import audit
from sandboxes.operators.audit import AuditActor

MAX_ROWS_PER_ACTION = 200


class ConfirmationPage(Protocol):
    """What an action needs of the admin page that it belongs to."""

    admin_site: AdminSite
    opts: Any

    @property
    def media(self) -> forms.Media: ...

    def message_user(self, request: HttpRequest, message: str, level: int = ...) -> None: ...

    def describe_row(self, row: Any) -> tuple[str, str]: ...


class ReasonForm(forms.Form):
    """Why an operator does something; only the audit says so."""

    reason = reason_field(autofocus=True)


class OwnerVisibleReasonForm(forms.Form):
    """Why an operator does something to somebody else's sandbox."""

    reason = reason_field(
        "Its owner reads this on the sandbox's card and in its journal.", autofocus=True
    )


def _always(_row: Any) -> bool:
    return True


def _return_url(request: HttpRequest) -> str:
    """The page that whoever answers no goes back to: the list as it was filtered, unless told."""
    told = request.POST.get("return_url", "")
    return told if url_has_allowed_host_and_scheme(told, None) else request.get_full_path()


@dataclass(frozen=True)
class ConfirmedAction:
    """One action: what it is called, what it asks, and what it does to one row.

    `act` takes the row, the operator and the form's data; it raises a ServiceError. `fits`
    says of which rows' pages it is a button.
    """

    name: str
    title: str
    done_text: str
    form: type[forms.Form]
    perform: Callable[[Any, AuditActor, dict[str, Any]], None]
    applies_to: Callable[[Any], bool] = _always
    permission: str = "change"
    """`operate` for who may change such rows, `remove` for who may delete them."""

    def run(
        self, page: ConfirmationPage, request: HttpRequest, rows: QuerySet[Any]
    ) -> HttpResponse | None:
        """The page that asks, or once it is answered, the deed and messages on what came of it."""
        chosen = list(rows[: MAX_ROWS_PER_ACTION + 1])
        if len(chosen) > MAX_ROWS_PER_ACTION:
            most = f"Choose at most {MAX_ROWS_PER_ACTION} at once; nothing was done."
            page.message_user(request, most, messages.ERROR)
            return None
        form = self.form(request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            return self._page(page, request, chosen, form)
        self._carry_out(page, request, chosen, form.cleaned_data)
        return None

    def _page(
        self, page: ConfirmationPage, request: HttpRequest, rows: list[Any], form: forms.Form
    ) -> HttpResponse:
        context = page.admin_site.each_context(request) | {
            "title": self.title,
            "opts": page.opts,
            "media": page.media,
            "confirmed_action": self,
            "subjects": [(row.pk, *page.describe_row(row)) for row in rows],
            "form": form,
            "return_url": _return_url(request),
            "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/confirm_action.html", context)

    def _carry_out(
        self, page: ConfirmationPage, request: HttpRequest, rows: list[Any], data: dict[str, Any]
    ) -> None:
        done = 0
        for row in rows:
            name = page.describe_row(row)[0]
            try:
                self._do(audit_actor(request), row, data)
            except ServiceError as refusal:
                page.message_user(request, f"{name}: {refusal}", messages.WARNING)
            else:
                done += 1
        if done:
            what = page.opts.verbose_name if done == 1 else page.opts.verbose_name_plural
            page.message_user(request, f"{done} {what} {self.done_text}.", messages.SUCCESS)

    @transaction.atomic
    def _do(self, actor: AuditActor, row: Any, data: dict[str, Any]) -> None:
        more = {
            name: ["", str(value)] for name, value in data.items() if name in self.audited_fields
        }
        # First, for it may be gone afterwards; a refusal takes the entry back.
        audit.record(actor, self.name, row, data["reason"], more)
        self.perform(row, actor, data)

    @property
    def audited_fields(self) -> set[str]:
        """The data that the audit keeps besides the reason: all but what is typed unseen."""
        fields = self.form.base_fields.items()
        unseen = {name for name, one in fields if isinstance(one.widget, forms.PasswordInput)}
        return set(self.form.base_fields) - unseen - {"reason"}
