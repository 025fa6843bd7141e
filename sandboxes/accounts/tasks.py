"""Celery task that sends invitations."""

from __future__ import annotations

from celery import shared_task

from sandboxes.accounts import invitations
from sandboxes.models import Invitation


@shared_task(
    name="sandboxes.tasks.invite", autoretry_for=(OSError,), retry_backoff=5, max_retries=4
)
def invite(invitation: int) -> None:
    """Email the invitation with this id."""
    invitations.send(Invitation.objects.get(pk=invitation))
