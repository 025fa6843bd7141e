"""What wakes a worker to deliver. A message says nothing: the rows are the queue."""

from __future__ import annotations

from celery import shared_task

from sandboxes import queue
from sandboxes.webhooks import delivery


@shared_task(name="sandboxes.webhooks.queue.deliver")
def deliver() -> None:
    delivery.deliver_due()


def schedule_delivery() -> None:
    """Have a worker deliver what is due, when the transaction has committed."""
    queue.enqueue(deliver)
