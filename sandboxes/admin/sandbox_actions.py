"""What operators do to sandboxes: each asks for a reason, of one or of many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator

from sandboxes import actions
from sandboxes.actions import operators
from sandboxes.admin.confirmations import Question, ReasonForm, ToldReasonForm
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import Sandbox, State
from sandboxes.models.runtime_settings import config
from sandboxes.operators.audit import Operator


class ExtensionForm(ToldReasonForm):
    """How much more time, and why."""

    minutes = forms.IntegerField(min_value=1, widget=forms.NumberInput({"class": "vIntegerField"}))
    field_order = ("minutes", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        most = config.SANDBOX_EXTENSION_MAX_MINUTES
        field = self.fields["minutes"]
        field.initial = min(60, most)
        field.help_text = f"1 to {most}; never past a sandbox's longest lifetime."
        field.validators.append(MaxValueValidator(most))


class MessageForm(ReasonForm):
    """What the owners are written."""

    text = forms.CharField(
        label="Message",
        max_length=2000,
        help_text="Their owners get it by mail, and read it in the sandbox's journal.",
        widget=forms.Textarea({"class": "vLargeTextField", "rows": 4}),
    )
    field_order = ("text", "reason")


def _destroy(sandbox: Sandbox, by: Operator, answers: dict[str, Any]) -> None:
    if not sandbox.is_not_ending:
        raise StateConflict(f"It is {sandbox.state} already; nothing was done.")
    actions.destroy(sandbox, by.user, answers["reason"])


def _extend(sandbox: Sandbox, by: Operator, answers: dict[str, Any]) -> None:
    actions.extend(sandbox, answers["minutes"], by.user, answers["reason"])


def _cancel(sandbox: Sandbox, by: Operator, answers: dict[str, Any]) -> None:
    operators.cancel(sandbox, by.user, answers["reason"])


def _retry(sandbox: Sandbox, by: Operator, answers: dict[str, Any]) -> None:
    operators.retry_removal(sandbox, by.user, answers["reason"])


def _message(sandbox: Sandbox, by: Operator, answers: dict[str, Any]) -> None:
    operators.message_owner(sandbox, by.user, answers["text"])


def _in(*states: State) -> Callable[[Sandbox], bool]:
    return lambda sandbox: sandbox.state in states


def _is_somebodys(sandbox: Sandbox) -> bool:
    return sandbox.owner is not None


DESTROY = Question(
    "destroy",
    "Destroy",
    "will be destroyed",
    ToldReasonForm,
    _destroy,
    _in(State.RUNNING, State.POOLED),
)
EXTEND = Question("extend", "Extend", "extended", ExtensionForm, _extend, _in(State.RUNNING))
CANCEL = Question(
    "cancel",
    "Cancel launch",
    "cancelled",
    ToldReasonForm,
    _cancel,
    _in(*operators.LAUNCHING_STATES),
)
RETRY = Question(
    "retry_removal",
    "Remove again now",
    "will be removed again",
    ToldReasonForm,
    _retry,
    _in(State.DESTROYING),
)
MESSAGE = Question("message", "Message owner", "messaged", MessageForm, _message, _is_somebodys)

QUESTIONS = (DESTROY, EXTEND, CANCEL, RETRY, MESSAGE)
