"""Invitations for users who can't sign up on their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from sandboxes.accounts import invitations
from sandboxes.accounts import tasks as account_tasks
from sandboxes.admin.base import PortalAdmin
from sandboxes.admin.confirmations import ConfirmedAction, ReasonForm
from sandboxes.lib import clock, queue
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import Invitation
from sandboxes.operators.audit import AuditActor

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Invitation]
else:
    ModelForm = forms.ModelForm


class InvitationForm(ModelForm):
    """Rejects addresses that have an account or an open invitation."""

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"].lower()
        if invitations.has_account(email):
            raise ValidationError("There is already an account with this address.")
        if Invitation.objects.open(clock.now()).filter(email=email).exists():
            raise ValidationError(
                "There is already an open invitation for this address. Send it again instead."
            )
        return email


def _send(invitation: Invitation, _actor: AuditActor, _data: dict[str, Any]) -> None:
    if not invitation.is_open:
        raise StateConflict("This invitation has expired or was used. Create a new one.")
    invitations.request_sending(invitation)
    queue.enqueue(account_tasks.invite, invitation.pk)


def _withdraw(invitation: Invitation, _actor: AuditActor, _data: dict[str, Any]) -> None:
    if invitation.accepted_at:
        raise StateConflict("Already accepted. Suspend the user instead.")
    invitation.delete()


SEND = ConfirmedAction("send", "Send again", "sent", ReasonForm, _send, lambda row: row.is_open)
WITHDRAW = ConfirmedAction(
    "withdraw",
    "Revoke",
    "revoked",
    ReasonForm,
    _withdraw,
    lambda row: row.accepted_at is None,
    permission="delete",
)


@admin.register(Invitation)
class InvitationAdmin(PortalAdmin):
    """Invitations; the link is only in the email, never shown here."""

    form = InvitationForm
    list_display = ("email", "invited_by", "created_at", "expires_at", "accepted_at", "accepted_by")
    list_filter = (("accepted_at", admin.EmptyFieldListFilter),)
    list_select_related = ("invited_by", "accepted_by")
    search_fields = ("email",)
    ordering = ("-id",)
    confirmed_actions = (SEND, WITHDRAW)
    fields = ("email", "expires_at")
    readonly_columns = ("invited_by", "created_at", "accepted_at", "accepted_by")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:  # noqa: ARG002 - Django's signature
        return self.fields if obj is None else (*self.fields, *self.readonly_columns)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:  # noqa: ARG002
        """Allow to change the expiry, but not the address."""
        return () if obj is None else ("email", *self.readonly_columns)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Email a new invitation, and delete expired ones for the same address."""
        if change:
            super().save_model(request, obj, form, change)
            return
        invitations.delete_expired(obj.email)
        obj.invited_by = request.user
        obj.save()
        invitations.request_sending(obj)
        queue.enqueue(account_tasks.invite, obj.pk)
