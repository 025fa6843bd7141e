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

from sandboxes.admin.audited import operator, reason_field
from sandboxes.lib.exceptions import ServiceError
from sandboxes.operators import audit
from sandboxes.operators.audit import Operator

MOST_AT_ONCE = 200


class ConfirmationPage(Protocol):
    """What an action needs of the admin page that it belongs to."""

    admin_site: AdminSite
    opts: Any

    @property
    def media(self) -> forms.Media: ...

    def message_user(self, request: HttpRequest, message: str, level: int = ...) -> None: ...

    def told(self, row: Any) -> tuple[str, str]: ...


class ReasonForm(forms.Form):
    """Why an operator does something; only the audit says so."""

    reason = reason_field(autofocus=True)


class ToldReasonForm(forms.Form):
    """Why an operator does something to somebody else's sandbox."""

    reason = reason_field(
        "Its owner reads this on the sandbox's card and in its journal.", autofocus=True
    )


def _always(_row: Any) -> bool:
    return True


def _asked_from(request: HttpRequest) -> str:
    """The page that whoever answers no goes back to: the list as it was filtered, unless told."""
    told = request.POST.get("asked_from", "")
    return told if url_has_allowed_host_and_scheme(told, None) else request.get_full_path()


@dataclass(frozen=True)
class Question:
    """One action: what it is called, what it asks, and what it does to one row.

    `act` takes the row, the operator and the form's answers; it raises a ServiceError. `fits`
    says of which rows' pages it is a button.
    """

    name: str
    title: str
    done: str
    form: type[forms.Form]
    act: Callable[[Any, Operator, dict[str, Any]], None]
    fits: Callable[[Any], bool] = _always
    permission: str = "operate"
    """`operate` for who may change such rows, `remove` for who may delete them."""

    def ask(
        self, page: ConfirmationPage, request: HttpRequest, rows: QuerySet[Any]
    ) -> HttpResponse | None:
        """The page that asks, or once it is answered, the deed and messages on what came of it."""
        chosen = list(rows[: MOST_AT_ONCE + 1])
        if len(chosen) > MOST_AT_ONCE:
            most = f"Choose at most {MOST_AT_ONCE} at once; nothing was done."
            page.message_user(request, most, messages.ERROR)
            return None
        form = self.form(request.POST if "answered" in request.POST else None)
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
            "question": self,
            "subjects": [(row.pk, *page.told(row)) for row in rows],
            "form": form,
            "asked_from": _asked_from(request),
            "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/confirm_action.html", context)

    def _carry_out(
        self, page: ConfirmationPage, request: HttpRequest, rows: list[Any], answers: dict[str, Any]
    ) -> None:
        done = 0
        for row in rows:
            name = page.told(row)[0]
            try:
                self._do(operator(request), row, answers)
            except ServiceError as refusal:
                page.message_user(request, f"{name}: {refusal}", messages.WARNING)
            else:
                done += 1
        if done:
            what = page.opts.verbose_name if done == 1 else page.opts.verbose_name_plural
            page.message_user(request, f"{done} {what} {self.done}.", messages.SUCCESS)

    @transaction.atomic
    def _do(self, by: Operator, row: Any, answers: dict[str, Any]) -> None:
        more = {name: ["", str(value)] for name, value in answers.items() if name in self.kept}
        # First, for it may be gone afterwards; a refusal takes the entry back.
        audit.note(by, self.name, row, answers["reason"], more)
        self.act(row, by, answers)

    @property
    def kept(self) -> set[str]:
        """The answers that the audit keeps besides the reason: all but what is typed unseen."""
        fields = self.form.base_fields.items()
        unseen = {name for name, one in fields if isinstance(one.widget, forms.PasswordInput)}
        return set(self.form.base_fields) - unseen - {"reason"}
