"""Celery task of the warm pool."""

from __future__ import annotations

from celery import shared_task

from sandboxes.lib.queue import send
from sandboxes.pool import reconcile
from sandboxes.worker.tasks import fund


@shared_task(name="sandboxes.tasks.tend_pool")
def reconcile_pools() -> None:
    for sandbox in reconcile.reconcile_pools():
        if sandbox.funding:
            send(fund, (sandbox.public_id,))
