"""Celery tasks that send emails to owners.

The rows are the queue; a message only wakes a worker.
"""

from __future__ import annotations

from celery import shared_task

from sandboxes.notifications import emails


@shared_task(name="sandboxes.tasks.send_mails")
def send_mails() -> None:
    emails.send_due_mails()


@shared_task(name="sandboxes.tasks.tell")
def send_message(_public_id: str = "", _event: int = 0) -> None:
    """Send operators' messages that are due. The ids only say which one woke the worker."""
    emails.send_due_messages()
