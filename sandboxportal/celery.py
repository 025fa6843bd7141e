"""The Celery app: `celery --app sandboxportal worker`."""

from __future__ import annotations

import logging
import os
from typing import Any

import structlog
from celery import Celery, Task
from celery.signals import setup_logging, worker_init, worker_ready, worker_shutting_down
from django.dispatch import receiver
from django_structlog.celery.signals import bind_extra_task_metadata
from django_structlog.celery.steps import DjangoStructLogInitStep
from kombu.transport import TRANSPORT_ALIASES

from sandboxes.lib import batches
from sandboxportal.postgresql import limit_answers

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandboxportal.settings")
TRANSPORT_ALIASES["embedded"] = "sandboxportal.celery_filesystem_broker:Transport"
for _scheme in ("redis", "rediss"):
    TRANSPORT_ALIASES[_scheme] = "sandboxportal.celery_redis_broker:Transport"

app = Celery("sandboxportal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(
    [
        "sandboxes.accounts",
        "sandboxes.webhooks.inbox",
        "sandboxes.notifications",
        "sandboxes.pool",
        "sandboxes.preparation",
        "sandboxes.reaper",
        "sandboxes.usage",
        "sandboxes.webhooks",
        "sandboxes.worker",
    ]
)
app.steps["worker"].add(DjangoStructLogInitStep)


@setup_logging.connect
def keep_logging(**_: Any) -> None:
    """Keep the logging configuration of Django's settings, by being connected to this signal.

    Celery's own log line for each task is turned off: it would contain the task's result, which can
    be a sandbox's output.
    """
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


@worker_init.connect
def limit_database_answers(**_: Any) -> None:
    """Let a database that hangs fail the worker's tasks; sweeps enqueue them again."""
    limit_answers()


@worker_ready.connect
def read_events(**_: Any) -> None:
    """Read the events of sandboxes, and look for transfers to them, in threads of the worker."""
    # The models are loaded only now.
    from sandboxes.webhooks.inbox import reader
    from sandboxes.worker import stellar

    reader.start()
    stellar.start()


@worker_shutting_down.connect
def stop_batches(**_: Any) -> None:
    """End batches after their current row; the next worker continues with the others."""
    batches.stopping.set()


@receiver(bind_extra_task_metadata)
def bind_sandbox(task: Task[Any, Any], **_: Any) -> None:
    """Add the sandbox to every line that a task logs."""
    if task.request.args:
        structlog.contextvars.bind_contextvars(sandbox=task.request.args[0])
