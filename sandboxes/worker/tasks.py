"""Celery tasks of the worker: each fetches its sandbox and calls one function.

A message holds only a public id. No work is lost with a message: the rows are the queue, and the
reaper requeues overdue ones.
"""

from __future__ import annotations

import platform

from celery import shared_task

from sandboxes.encryption.fields import DecryptionError
from sandboxes.lib import queue, redaction
from sandboxes.lib.concurrency import ConcurrencyLimit
from sandboxes.lib.exceptions import Unavailable
from sandboxes.models import Sandbox, SavePoint
from sandboxes.runtime import RuntimeFailure, get_runtime
from sandboxes.worker import funding, provisioning, repairs, resets, save_points, teardown
from sandboxes.worker.backlog import Backlog

_removals = Backlog("removals", teardown.tear_down)
_repairs = Backlog("repairs", repairs.repair)


def _reset_or_save(sandbox: Sandbox) -> None:
    if sandbox.reset_requested_at:
        resets.reset(sandbox)
    else:
        save_points.save(sandbox)


_resets = Backlog("resets", _reset_or_save)
concurrent_log_reads = ConcurrencyLimit(total=4, per_user=2)
"""An engine that hangs must not occupy all threads of the worker."""


@shared_task(name="sandboxes.tasks.provision")
def provision(_public_id: str) -> None:
    """Process the launch queue. The id only says which launch sent the message."""
    provisioning.process_queue()
    queue.enqueue("sandboxes.tasks.tend_pool")


@shared_task(name="sandboxes.tasks.tear_down")
def tear_down(public_id: str) -> None:
    _removals.add(public_id)


@shared_task(name="sandboxes.tasks.reset")
def reset(public_id: str) -> None:
    _resets.add(public_id)


@shared_task(name="sandboxes.tasks.save")
def save(public_id: str) -> None:
    _resets.add(public_id)


@shared_task(name="sandboxes.tasks.remove_save_point")
def remove_save_point(public_id: str) -> None:
    if save_point := SavePoint.objects.filter(public_id=public_id).first():
        save_points.remove(save_point)


@shared_task(name="sandboxes.tasks.revive")
def repair(public_id: str) -> None:
    _repairs.add(public_id)


@shared_task(name="sandboxes.tasks.look_after")
def verify_claimed(public_id: str) -> None:
    repairs.verify_claimed(Sandbox.objects.get(public_id=public_id))


@shared_task(name="sandboxes.tasks.fund")
def fund(_public_id: str = "") -> None:
    """Fund the accounts that are due. The id only says which launch sent the message."""
    funding.fund_due()


@shared_task(name="sandboxes.tasks.read_logs", ignore_result=False)
def read_logs(public_id: str, service: str, tail: int) -> dict[str, str]:
    """Return the last lines of a service, without secrets because the cache stores the result."""
    sandbox = Sandbox.objects.filter(public_id=public_id).first()
    if sandbox is None:
        return {"error": "This sandbox no longer exists."}
    try:
        with concurrent_log_reads.slot(sandbox.owner_id):
            text = get_runtime(sandbox.engine.connection).logs(public_id, service, tail)
        return {"text": redaction.redact(text, sandbox.secrets)}
    except (RuntimeFailure, DecryptionError, Unavailable) as error:
        return {"error": str(error)}


@shared_task(name="sandboxes.tasks.answer", ignore_result=False)
def ping() -> str:
    """Return the host name of the worker."""
    return platform.node()
