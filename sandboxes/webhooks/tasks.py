"""Celery task that delivers webhook messages. It has no arguments: the rows are the queue."""

from __future__ import annotations

from celery import shared_task

from sandboxes.lib import queue
from sandboxes.webhooks import delivery


@shared_task(name="sandboxes.webhooks.queue.deliver")
def deliver() -> None:
    delivery.deliver_due()


def schedule_delivery() -> None:
    """Send the delivery task after the transaction has committed."""
    queue.enqueue(deliver)
