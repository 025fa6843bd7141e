"""The page between an action and what it does: operators say why, and the journal keeps it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import helpers
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from sandboxes.admin.base import PortalAdmin
from sandboxes.errors import Refusal
from sandboxes.models import Sandbox

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_AT_ONCE = 200


class ReasonForm(forms.Form):
    """Why an operator does something to somebody else's sandbox."""

    reason = forms.CharField(
        max_length=200,
        help_text="Its owner reads this on the sandbox's card and in its journal.",
        widget=forms.TextInput(attrs={"class": "vTextField", "autofocus": True}),
    )


class ExtensionForm(ReasonForm):
    """How much more time, and why."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        most = settings.SANDBOX_EXTENSION_MAX_MINUTES
        self.fields["minutes"] = forms.IntegerField(
            min_value=1,
            max_value=most,
            initial=min(60, most),
            help_text=f"1 to {most}; never past a sandbox's longest lifetime.",
            widget=forms.NumberInput(attrs={"class": "vIntegerField"}),
        )
        self.order_fields(["minutes", "reason"])


@dataclass(frozen=True)
class Question:
    """One action: what it is called, what it asks, and what it does to one sandbox.

    `act` takes the sandbox, the operator and the form's answers; it raises a Refusal.
    """

    name: str
    title: str
    done: str
    form: type[ReasonForm]
    act: Callable[[Sandbox, User, dict[str, Any]], None]

    def ask(
        self, page: PortalAdmin, request: HttpRequest, rows: QuerySet[Sandbox]
    ) -> HttpResponse | None:
        """The page that asks, or once it is answered, the deed and messages on what came of it."""
        sandboxes = list(rows.select_related("owner")[: MOST_AT_ONCE + 1])
        if len(sandboxes) > MOST_AT_ONCE:
            most = f"Choose at most {MOST_AT_ONCE} sandboxes at once; nothing was done."
            page.message_user(request, most, messages.ERROR)
            return None
        form = self.form(request.POST if "answered" in request.POST else None)
        if not form.is_valid():
            return self._page(page, request, sandboxes, form)
        self._carry_out(page, request, sandboxes, form.cleaned_data)
        return None

    def _page(
        self, page: PortalAdmin, request: HttpRequest, sandboxes: list[Sandbox], form: ReasonForm
    ) -> HttpResponse:
        context = page.admin_site.each_context(request) | {
            "title": self.title,
            "opts": page.opts,
            "media": page.media,
            "question": self,
            "sandboxes": sandboxes,
            "form": form,
            "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/sandboxes/sandbox/ask.html", context)

    def _carry_out(
        self,
        page: PortalAdmin,
        request: HttpRequest,
        sandboxes: list[Sandbox],
        answers: dict[str, Any],
    ) -> None:
        done = 0
        for sandbox in sandboxes:
            try:
                self.act(sandbox, cast("User", request.user), answers)
            except Refusal as refusal:
                page.message_user(request, f"{sandbox.public_id}: {refusal}", messages.WARNING)
            else:
                done += 1
                page.log_change(request, sandbox, f"{self.title}: {answers['reason']}")
        if done:
            count = f"{done} sandbox{'es' if done > 1 else ''} {self.done}."
            page.message_user(request, count, messages.SUCCESS)
