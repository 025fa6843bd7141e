"""Celery tasks that send emails to owners."""

from __future__ import annotations

from celery import shared_task

from sandboxes.models import Event
from sandboxes.notifications import emails


@shared_task(name="sandboxes.tasks.send_mails")
def send_mails() -> None:
    emails.send_due_mails()


# Celery retries, because no row tells the reaper to requeue this message.
@shared_task(name="sandboxes.tasks.tell", autoretry_for=(OSError,), retry_backoff=5, max_retries=4)
def send_message(public_id: str, event: int) -> None:
    emails.send_message(Event.objects.get(pk=event, sandbox__public_id=public_id))
