"""Send tasks to the workers once the transaction has committed."""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog
from celery import Task, current_app
from django.db import transaction
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)


def send(task: Task[..., Any], args: tuple[Any, ...]) -> None:
    try:
        task.delay(*args)
    except (OperationalError, OSError) as error:
        log.warning("queue_unreachable", task=task.name, error=str(error))


def enqueue(task: Task[..., Any] | str, *args: Any) -> None:
    """Send the task after the transaction commits; log if the broker is unreachable.

    Pass a task by name if the caller must not import its package.
    """
    if isinstance(task, str):
        task = current_app.tasks[task]
    transaction.on_commit(partial(send, task, args))
