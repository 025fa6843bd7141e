"""What wakes a worker to deliver. A message says nothing: the rows are the queue."""

from __future__ import annotations

from celery import shared_task

from sandboxes import queue as worker_tasks
from sandboxes.webhooks import delivery


@shared_task(name="sandboxes.webhooks.queue.deliver")
def deliver() -> None:
    delivery.work_off()


def wake() -> None:
    """Have a worker deliver what is due, when the transaction has committed."""
    worker_tasks.enqueue(deliver)
