"""The queue's app: `celery --app sandboxportal worker`."""

from __future__ import annotations

import logging
import os
from typing import Any

import structlog
from celery import Celery, Task
from celery.signals import setup_logging
from django.dispatch import receiver
from django_structlog.celery.signals import bind_extra_task_metadata
from django_structlog.celery.steps import DjangoStructLogInitStep
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandboxportal.settings")
TRANSPORT_ALIASES["embedded"] = "sandboxportal.celery_filesystem_broker:Transport"

app = Celery("sandboxportal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(
    [
        "sandboxes.accounts",
        "sandboxes.notifications",
        "sandboxes.pool",
        "sandboxes.reaper",
        "sandboxes.usage",
        "sandboxes.webhooks",
        "sandboxes.worker",
    ]
)
app.steps["worker"].add(DjangoStructLogInitStep)


@setup_logging.connect
def keep_logging(**_: Any) -> None:
    """Having a receiver makes Celery leave logging as Django's settings made it.

    Its own line for each task would tell what the task returned: what a sandbox wrote.
    """
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


@receiver(bind_extra_task_metadata)
def name_the_sandbox(task: Task[Any, Any], **_: Any) -> None:
    """Every line that a task logs says which sandbox it is about."""
    if task.request.args:
        structlog.contextvars.bind_contextvars(sandbox=task.request.args[0])
