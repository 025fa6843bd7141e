"""Admin actions with a confirmation page that asks for a reason, recorded in the audit log."""

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
from sandboxes.operators.alerts import MAX_ROWS_PER_ACTION
from sandboxes.operators.audit import AuditActor


class ConfirmationPage(Protocol):
    """What an action needs from its model admin."""

    admin_site: AdminSite
    opts: Any

    @property
    def media(self) -> forms.Media: ...

    def message_user(self, request: HttpRequest, message: str, level: int = ...) -> None: ...

    def describe_row(self, row: Any) -> tuple[str, str]: ...


class ReasonForm(forms.Form):
    """A reason that is only shown in the audit log."""

    reason = reason_field(autofocus=True)


class OwnerVisibleReasonForm(forms.Form):
    """A reason that the sandbox's owner sees."""

    reason = reason_field(
        "The owner sees this on the sandbox's card and in its activity.", autofocus=True
    )


def _always(_row: Any) -> bool:
    return True


def _return_url(request: HttpRequest) -> str:
    """Return the page to go back to on cancel; by default the list with its filters."""
    url = request.POST.get("return_url", "")
    return url if url_has_allowed_host_and_scheme(url, None) else request.get_full_path()


@dataclass(frozen=True)
class ConfirmedAction:
    """An action: its title, its form, and what it does to a row.

    `perform` gets the row, the operator and the form's data, and may raise ServiceError.
    `applies_to` says on which rows' pages to show a button.
    """

    name: str
    title: str
    done_text: str
    form: type[forms.Form]
    perform: Callable[[Any, AuditActor, dict[str, Any]], None]
    applies_to: Callable[[Any], bool] = _always
    message: str = ""
    """Message after the action, in place of one that counts the rows."""
    permission: str = "change"
    """Permission that operators need: `change` or `delete`."""

    def run(
        self, page: ConfirmationPage, request: HttpRequest, rows: QuerySet[Any]
    ) -> HttpResponse | None:
        """Show the confirmation page; once confirmed, perform the action and report the result."""
        chosen = list(rows[: MAX_ROWS_PER_ACTION + 1])
        if len(chosen) > MAX_ROWS_PER_ACTION:
            most = f"Select at most {MAX_ROWS_PER_ACTION} rows. Nothing was changed."
            page.message_user(request, most, messages.ERROR)
            return None
        form = self.form(request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            return self._page(page, request, chosen, form)
        self._perform_all(page, request, chosen, form.cleaned_data)
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

    def _perform_all(
        self, page: ConfirmationPage, request: HttpRequest, rows: list[Any], data: dict[str, Any]
    ) -> None:
        done = 0
        for row in rows:
            name = page.describe_row(row)[0]
            try:
                self._record_and_perform(audit_actor(request), row, data)
            except ServiceError as error:
                page.message_user(request, f"{name}: {error}", messages.WARNING)
            else:
                done += 1
        if done:
            what = page.opts.verbose_name if done == 1 else page.opts.verbose_name_plural
            text = self.message or f"{done} {what} {self.done_text}."
            page.message_user(request, text, messages.SUCCESS)

    @transaction.atomic
    def _record_and_perform(self, actor: AuditActor, row: Any, data: dict[str, Any]) -> None:
        values = {
            name: ["", str(value)] for name, value in data.items() if name in self.audited_fields
        }
        # Record first, since the row may be deleted; an error rolls the entry back.
        audit.record(actor, self.name, row, data["reason"], values)
        self.perform(row, actor, data)

    @property
    def audited_fields(self) -> set[str]:
        """The fields that the audit log keeps besides the reason: all except passwords."""
        fields = self.form.base_fields.items()
        hidden = {name for name, one in fields if isinstance(one.widget, forms.PasswordInput)}
        return set(self.form.base_fields) - hidden - {"reason"}
