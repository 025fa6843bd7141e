"""Actions of operators on sandboxes; each requires a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator

from sandboxes import actions
from sandboxes.actions import operators
from sandboxes.admin.confirmations import ConfirmedAction, OwnerVisibleReasonForm, ReasonForm
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import LAUNCHING_STATES, Sandbox, State
from sandboxes.models.runtime_settings import config
from sandboxes.operators.audit import AuditActor


class ExtensionForm(OwnerVisibleReasonForm):
    """The minutes to extend by, and the reason."""

    minutes = forms.IntegerField(min_value=1, widget=forms.NumberInput({"class": "vIntegerField"}))
    field_order = ("minutes", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        max_minutes = config.SANDBOX_EXTENSION_MAX_MINUTES
        field = self.fields["minutes"]
        field.initial = min(60, max_minutes)
        field.help_text = f"1 to {max_minutes}. A sandbox never exceeds its maximum lifetime."
        field.validators.append(MaxValueValidator(max_minutes))


class MessageForm(ReasonForm):
    """A message to the owners."""

    text = forms.CharField(
        label="Message",
        max_length=2000,
        help_text="Sent to the owners by email, and shown in the sandbox's activity.",
        widget=forms.Textarea({"class": "vLargeTextField", "rows": 4}),
    )
    field_order = ("text", "reason")


def _destroy(sandbox: Sandbox, actor: AuditActor, data: dict[str, Any]) -> None:
    if not sandbox.is_not_ending:
        raise StateConflict(f"Already {sandbox.state}. Nothing was changed.")
    actions.destroy(sandbox, actor.user, data["reason"])


def _extend(sandbox: Sandbox, actor: AuditActor, data: dict[str, Any]) -> None:
    actions.extend(sandbox, data["minutes"], actor.user, data["reason"])


def _cancel(sandbox: Sandbox, actor: AuditActor, data: dict[str, Any]) -> None:
    operators.cancel(sandbox, actor.user, data["reason"])


def _retry_removal(sandbox: Sandbox, actor: AuditActor, data: dict[str, Any]) -> None:
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
    "canceled",
    OwnerVisibleReasonForm,
    _cancel,
    _in_state(*LAUNCHING_STATES),
)
RETRY_REMOVAL = ConfirmedAction(
    "retry_removal",
    "Retry removal",
    "queued for removal",
    OwnerVisibleReasonForm,
    _retry_removal,
    _in_state(State.DESTROYING),
)
MESSAGE = ConfirmedAction("message", "Message owner", "messaged", MessageForm, _message, _has_owner)

ACTIONS = (DESTROY, EXTEND, CANCEL, RETRY_REMOVAL, MESSAGE)
