"""What operators do to sandboxes: each asks for a reason, of one or of many."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.validators import MaxValueValidator

from sandboxes import actions
from sandboxes.admin.asking import Question, ToldReasonForm
from sandboxes.audit import Operator
from sandboxes.errors import Conflict
from sandboxes.models import Sandbox, State


class ExtensionForm(ToldReasonForm):
    """How much more time, and why."""

    minutes = forms.IntegerField(min_value=1, widget=forms.NumberInput({"class": "vIntegerField"}))
    field_order = ("minutes", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        most = settings.SANDBOX_EXTENSION_MAX_MINUTES
        field = self.fields["minutes"]
        field.initial = min(60, most)
        field.help_text = f"1 to {most}; never past a sandbox's longest lifetime."
        field.validators.append(MaxValueValidator(most))


def _destroy(sandbox: Sandbox, by: Operator, answers: dict[str, Any]) -> None:
    if not sandbox.is_standing:
        raise Conflict(f"It is {sandbox.state} already; nothing was done.")
    actions.destroy(sandbox, by.user, answers["reason"])


def _extend(sandbox: Sandbox, by: Operator, answers: dict[str, Any]) -> None:
    actions.extend(sandbox, answers["minutes"], by.user, answers["reason"])


def _is_running(sandbox: Sandbox) -> bool:
    return sandbox.state == State.RUNNING


QUESTIONS = (
    Question(
        "destroy",
        "Destroy",
        "will be destroyed",
        ToldReasonForm,
        _destroy,
        lambda sandbox: sandbox.is_standing,
    ),
    Question("extend", "Extend", "extended", ExtensionForm, _extend, _is_running),
)
