"""What wakes a worker to deliver. A message says nothing: the rows are the queue."""

from __future__ import annotations

from celery import shared_task

from sandboxes import clock, tasks
from sandboxes.models import WebhookDelivery
from sandboxes.webhooks import delivering


@shared_task
def deliver() -> None:
    delivering.work_off()


def wake() -> None:
    """Have a worker deliver what is due, when the transaction has committed."""
    tasks.enqueue(deliver)


def wake_if_due() -> None:
    """The same, when there is something to do: tries that are due, and what a lost queue forgot."""
    if WebhookDelivery.objects.due(clock.now()).exists():
        wake()
