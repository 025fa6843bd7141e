"""Send tasks to the workers once the transaction has committed."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import Any

import structlog
from celery import Task, current_app
from django.db import transaction
from kombu.exceptions import OperationalError

from sandboxes.lib.circuit_breaker import CircuitBreaker

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 5
SLOW_SECONDS = 0.5
"""A broker that refuses sooner costs little to ask again; one that hangs would block requests."""
breaker = CircuitBreaker(PAUSE_SECONDS)


def send(task: Task[..., Any], args: tuple[Any, ...]) -> None:
    """Send the task, unless the broker hangs. The next sweep makes up for a lost message."""
    if not breaker.allows_call():
        log.warning("queue_unreachable", task=task.name, error="skipped after a timeout")
        return
    started = monotonic()
    try:
        task.delay(*args)
    except (OperationalError, OSError) as error:
        if monotonic() - started > SLOW_SECONDS:
            breaker.record_failure()
        log.warning("queue_unreachable", task=task.name, error=str(error))
    else:
        breaker.record_success()


def enqueue(task: Task[..., Any] | str, *args: Any) -> None:
    """Send the task after the transaction commits; log if the broker is unreachable.

    Pass a task by name if the caller must not import its package.
    """
    if isinstance(task, str):
        task = current_app.tasks[task]
    transaction.on_commit(partial(send, task, args))
