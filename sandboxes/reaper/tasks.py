"""Celery task for a sweep that an operator requests."""

from __future__ import annotations

from celery import shared_task

from sandboxes.lib.batches import Batch
from sandboxes.reaper.sweep import Sweep

_batch = Batch("sweep")


@shared_task(name="sandboxes.sweeping.sweep")
def sweep() -> None:
    _batch.run_once(lambda: Sweep().run())
