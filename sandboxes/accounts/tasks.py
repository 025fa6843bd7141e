"""Celery tasks that send emails. The rows are the queue; a message only wakes a worker."""

from __future__ import annotations

from celery import shared_task

from sandboxes.accounts import account_mails, invitations


@shared_task(name="sandboxes.tasks.invite")
def invite(_invitation: int = 0) -> None:
    """Email the invitations that are due. The id only says which one woke the worker."""
    invitations.send_due()


@shared_task(name="sandboxes.tasks.send_account_mails")
def send_account_mails() -> None:
    account_mails.send_due()
