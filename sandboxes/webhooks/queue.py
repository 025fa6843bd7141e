"""What wakes a worker to deliver. A message says nothing: the rows are the queue."""

from __future__ import annotations

from celery import shared_task

from sandboxes import tasks
from sandboxes.webhooks import delivering


@shared_task
def deliver() -> None:
    delivering.work_off()


def wake() -> None:
    """Have a worker deliver what is due, when the transaction has committed."""
    tasks.enqueue(deliver)
