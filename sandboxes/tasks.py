"""What the worker does: each task fetches its sandbox and calls one function.

A message holds a public id and nothing else. Losing one loses nothing: the row is the queue, and
the reaper sends the stale ones again.
"""

from __future__ import annotations

import platform
from functools import partial
from typing import Any

import structlog
from celery import Task, shared_task
from django.db import transaction
from kombu.exceptions import OperationalError

from sandboxes import counting, last_words, notifications, provisioning, stellar, stocking, upkeep
from sandboxes.accounts import invitations
from sandboxes.models import Event, Invitation, Sandbox
from sandboxes.runtime import RuntimeFailure, get_runtime
from sandboxes.secrets import Undecipherable

log = structlog.get_logger(__name__)


def _send(task: Task[..., Any], args: tuple[Any, ...]) -> None:
    try:
        task.delay(*args)
    except (OperationalError, OSError) as error:
        log.warning("queue_unreachable", task=task.name, error=str(error))


def enqueue(task: Task[..., Any], *args: Any) -> None:
    """Send the task when the transaction has committed; a lost broker is not the caller's error."""
    transaction.on_commit(partial(_send, task, args))


@shared_task
def provision(_public_id: str) -> None:
    """Work off what waits, in turn; that this one does is only what woke the worker."""
    provisioning.work_off()
    tend_pool()


@shared_task
def tend_pool() -> None:
    for made in stocking.tend():
        _send(fund, (made.public_id,))


@shared_task
def tear_down(public_id: str) -> None:
    provisioning.tear_down(Sandbox.objects.get(public_id=public_id))


@shared_task
def reset(public_id: str) -> None:
    upkeep.reset(Sandbox.objects.get(public_id=public_id))


@shared_task
def revive(public_id: str) -> None:
    upkeep.revive(Sandbox.objects.get(public_id=public_id))


@shared_task
def look_after(public_id: str) -> None:
    upkeep.look_after(Sandbox.objects.get(public_id=public_id))


@shared_task
def fund(public_id: str) -> None:
    stellar.fund(Sandbox.objects.get(public_id=public_id))


@shared_task
def count_requests() -> None:
    counting.count_requests()


@shared_task
def send_mails() -> None:
    notifications.send_due_mails()


# A mail server that is away has no row that the reaper would send again.
@shared_task(autoretry_for=(OSError,), retry_backoff=5, max_retries=4)
def tell(public_id: str, event: int) -> None:
    notifications.send_message(Event.objects.get(pk=event, sandbox__public_id=public_id))


@shared_task(autoretry_for=(OSError,), retry_backoff=5, max_retries=4)
def invite(invitation: int) -> None:
    invitations.send(Invitation.objects.get(pk=invitation))


@shared_task(ignore_result=False)
def read_logs(public_id: str, service: str, tail: int) -> dict[str, str]:
    """What it answers waits in the cache, so it holds no secret."""
    sandbox = Sandbox.objects.filter(public_id=public_id).first()
    if sandbox is None:
        return {"error": "There is no such sandbox any more."}
    try:
        text = get_runtime().logs(public_id, service, tail)
        return {"text": last_words.conceal(text, sandbox.secrets)}
    except (RuntimeFailure, Undecipherable) as error:
        return {"error": str(error)}


@shared_task(ignore_result=False)
def answer() -> str:
    """The worker is there, says its machine's name."""
    return platform.node()
