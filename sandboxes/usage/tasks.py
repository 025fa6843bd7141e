"""Celery task that counts requests."""

from __future__ import annotations

from celery import shared_task

from sandboxes.lib.batches import Batch
from sandboxes.usage import request_counts

_batch = Batch("request_counts")


@shared_task(name="sandboxes.tasks.count_requests")
def count_requests() -> None:
    _batch.run_once(request_counts.count_requests)
