"""What operators do to sandboxes: each asks for a reason, of one or of many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator

from sandboxes import actions
from sandboxes.actions import operators
from sandboxes.admin.confirmations import ConfirmedAction, OwnerVisibleReasonForm, ReasonForm
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import Sandbox, State
from sandboxes.models.runtime_settings import config
from sandboxes.operators.audit import AuditActor


class ExtensionForm(OwnerVisibleReasonForm):
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


def _destroy(sandbox: Sandbox, actor: AuditActor, data: dict[str, Any]) -> None:
    if not sandbox.is_not_ending:
        raise StateConflict(f"It is {sandbox.state} already; nothing was done.")
    actions.destroy(sandbox, actor.user, data["reason"])


def _extend(sandbox: Sandbox, actor: AuditActor, data: dict[str, Any]) -> None:
    actions.extend(sandbox, data["minutes"], actor.user, data["reason"])


def _cancel(sandbox: Sandbox, actor: AuditActor, data: dict[str, Any]) -> None:
    operators.cancel(sandbox, actor.user, data["reason"])


def _retry(sandbox: Sandbox, actor: AuditActor, data: dict[str, Any]) -> None:
    operators.retry_removal(sandbox, actor.user, data["reason"])


def _message(sandbox: Sandbox, actor: AuditActor, data: dict[str, Any]) -> None:
    operators.message_owner(sandbox, actor.user, data["text"])


def _in_state(*states: State) -> Callable[[Sandbox], bool]:
    return lambda sandbox: sandbox.state in states


def _has_owner(sandbox: Sandbox) -> bool:
    return sandbox.owner is not None


DESTROY = ConfirmedAction(
    "destroy",
    "Destroy",
    "will be destroyed",
    OwnerVisibleReasonForm,
    _destroy,
    _in_state(State.RUNNING, State.POOLED),
)
EXTEND = ConfirmedAction(
    "extend", "Extend", "extended", ExtensionForm, _extend, _in_state(State.RUNNING)
)
CANCEL = ConfirmedAction(
    "cancel",
    "Cancel launch",
    "cancelled",
    OwnerVisibleReasonForm,
    _cancel,
    _in_state(*operators.LAUNCHING_STATES),
)
RETRY_REMOVAL = ConfirmedAction(
    "retry_removal",
    "Remove again now",
    "will be removed again",
    OwnerVisibleReasonForm,
    _retry,
    _in_state(State.DESTROYING),
)
MESSAGE = ConfirmedAction("message", "Message owner", "messaged", MessageForm, _message, _has_owner)

ACTIONS = (DESTROY, EXTEND, CANCEL, RETRY_REMOVAL, MESSAGE)
