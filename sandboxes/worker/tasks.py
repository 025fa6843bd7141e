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

from sandboxes.accounts import invitations
from sandboxes.encryption.fields import Undecipherable
from sandboxes.models import Event, Invitation, Sandbox
from sandboxes.notifications import emails
from sandboxes.pool import reconcile
from sandboxes.runtime import RuntimeFailure, get_runtime
from sandboxes.usage import request_counts
from sandboxes.worker import (
    funding,
    log_tail,
    maintenance,
    provisioning,
)

log = structlog.get_logger(__name__)


def _send(task: Task[..., Any], args: tuple[Any, ...]) -> None:
    try:
        task.delay(*args)
    except (OperationalError, OSError) as error:
        log.warning("queue_unreachable", task=task.name, error=str(error))


def enqueue(task: Task[..., Any], *args: Any) -> None:
    """Send the task when the transaction has committed; a lost broker is not the caller's error."""
    transaction.on_commit(partial(_send, task, args))


@shared_task(name="sandboxes.tasks.provision")
def provision(_public_id: str) -> None:
    """Work off what waits, in turn; that this one does is only what woke the worker."""
    provisioning.work_off()
    tend_pool()


@shared_task(name="sandboxes.tasks.tend_pool")
def tend_pool() -> None:
    for made in reconcile.tend():
        _send(fund, (made.public_id,))


@shared_task(name="sandboxes.tasks.tear_down")
def tear_down(public_id: str) -> None:
    provisioning.tear_down(Sandbox.objects.get(public_id=public_id))


@shared_task(name="sandboxes.tasks.reset")
def reset(public_id: str) -> None:
    maintenance.reset(Sandbox.objects.get(public_id=public_id))


@shared_task(name="sandboxes.tasks.revive")
def revive(public_id: str) -> None:
    maintenance.revive(Sandbox.objects.get(public_id=public_id))


@shared_task(name="sandboxes.tasks.look_after")
def look_after(public_id: str) -> None:
    maintenance.look_after(Sandbox.objects.get(public_id=public_id))


@shared_task(name="sandboxes.tasks.fund")
def fund(public_id: str) -> None:
    funding.fund(Sandbox.objects.get(public_id=public_id))


@shared_task(name="sandboxes.tasks.count_requests")
def count_requests() -> None:
    request_counts.count_requests()


@shared_task(name="sandboxes.tasks.send_mails")
def send_mails() -> None:
    emails.send_due_mails()


# A mail server that is away has no row that the reaper would send again.
@shared_task(name="sandboxes.tasks.tell", autoretry_for=(OSError,), retry_backoff=5, max_retries=4)
def tell(public_id: str, event: int) -> None:
    emails.send_message(Event.objects.get(pk=event, sandbox__public_id=public_id))


@shared_task(
    name="sandboxes.tasks.invite", autoretry_for=(OSError,), retry_backoff=5, max_retries=4
)
def invite(invitation: int) -> None:
    invitations.send(Invitation.objects.get(pk=invitation))


@shared_task(name="sandboxes.tasks.read_logs", ignore_result=False)
def read_logs(public_id: str, service: str, tail: int) -> dict[str, str]:
    """What it answers waits in the cache, so it holds no secret."""
    sandbox = Sandbox.objects.filter(public_id=public_id).first()
    if sandbox is None:
        return {"error": "There is no such sandbox any more."}
    try:
        text = get_runtime().logs(public_id, service, tail)
        return {"text": log_tail.conceal(text, sandbox.secrets)}
    except (RuntimeFailure, Undecipherable) as error:
        return {"error": str(error)}


@shared_task(name="sandboxes.tasks.answer", ignore_result=False)
def answer() -> str:
    """The worker is there, says its machine's name."""
    return platform.node()
