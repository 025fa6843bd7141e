"""Celery task that adds an engine for an operator, since the web process reaches no engine."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.contrib.auth import get_user_model

from sandboxes.lib.exceptions import ValidationFailed
from sandboxes.models import Engine
from sandboxes.operators.audit import AuditActor
from sandboxes.preparation import engines


@shared_task(name="sandboxes.tasks.add_engine", ignore_result=False)
def add_engine(values: dict[str, Any], user_id: int, address: str | None, reason: str) -> list[str]:
    """Check and add an engine; return the field and the message of an error, if there is one."""
    actor = AuditActor(get_user_model().objects.get(pk=user_id), address)
    try:
        engines.add(Engine(**values), actor, reason)
    except ValidationFailed as error:
        return [error.field, str(error)]
    return []
