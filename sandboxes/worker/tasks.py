"""What the worker does: each task fetches its sandbox and calls one function.

A message holds a public id and nothing else. Losing one loses nothing: the row is the queue, and
the reaper sends the stale ones again.
"""

from __future__ import annotations

import platform

from celery import shared_task

from sandboxes import queue
from sandboxes.encryption.fields import DecryptionError
from sandboxes.lib import redaction
from sandboxes.models import Sandbox
from sandboxes.runtime import RuntimeFailure, get_runtime
from sandboxes.worker import (
    funding,
    maintenance,
    provisioning,
    teardown,
)


@shared_task(name="sandboxes.tasks.provision")
def provision(_public_id: str) -> None:
    """Work off what waits, in turn; that this one does is only what woke the worker."""
    provisioning.process_queue()
    queue.enqueue("sandboxes.tasks.tend_pool")


@shared_task(name="sandboxes.tasks.tear_down")
def tear_down(public_id: str) -> None:
    teardown.tear_down(Sandbox.objects.get(public_id=public_id))


@shared_task(name="sandboxes.tasks.reset")
def reset(public_id: str) -> None:
    maintenance.reset(Sandbox.objects.get(public_id=public_id))


@shared_task(name="sandboxes.tasks.revive")
def restart(public_id: str) -> None:
    maintenance.restart(Sandbox.objects.get(public_id=public_id))


@shared_task(name="sandboxes.tasks.look_after")
def verify_claimed(public_id: str) -> None:
    maintenance.verify_claimed(Sandbox.objects.get(public_id=public_id))


@shared_task(name="sandboxes.tasks.fund")
def fund(public_id: str) -> None:
    funding.fund(Sandbox.objects.get(public_id=public_id))


@shared_task(name="sandboxes.tasks.read_logs", ignore_result=False)
def read_logs(public_id: str, service: str, tail: int) -> dict[str, str]:
    """What it answers waits in the cache, so it holds no secret."""
    sandbox = Sandbox.objects.filter(public_id=public_id).first()
    if sandbox is None:
        return {"error": "There is no such sandbox any more."}
    try:
        text = get_runtime().logs(public_id, service, tail)
        return {"text": redaction.redact(text, sandbox.secrets)}
    except (RuntimeFailure, DecryptionError) as error:
        return {"error": str(error)}


@shared_task(name="sandboxes.tasks.answer", ignore_result=False)
def ping() -> str:
    """The worker is there, says its machine's name."""
    return platform.node()
