"""What the services of a sandbox wrote last, read through a worker."""

from __future__ import annotations

from celery.exceptions import TimeoutError as NoAnswer
from django.core.cache import cache
from kombu.exceptions import OperationalError

from sandboxes import blueprints
from sandboxes.lib.exceptions import StateConflict, Unavailable, ValidationFailed
from sandboxes.models import Sandbox, State
from sandboxes.worker import tasks as worker_tasks

TIMEOUT_SECONDS = 0.7
"""An engine that hangs must not hold up those who read logs, nor through them everybody else."""
REQUEST_REUSED_SECONDS = 30
"""So long whoever asks again waits for the same answer, instead of for another reading."""


def service_names(sandbox: Sandbox) -> list[str]:
    """The names of its services; none when its blueprint is there no more."""
    blueprint = blueprints.available().get(sandbox.blueprint)
    return [service.name for service in blueprint.services] if blueprint else []


def read_log(sandbox: Sandbox, service: str, lines: int) -> str:
    """The last lines of one service, without the sandbox's secrets.

    The web process holds no engine socket, so a worker looks.

    Raises ValidationFailed, StateConflict, Unavailable.
    """
    known = service_names(sandbox)
    if not known:
        raise StateConflict("Its blueprint is not there any more, so its services are not known.")
    if service not in known:
        raise ValidationFailed("service", f"Choose one of {', '.join(known)}.")
    if sandbox.state not in (State.PROVISIONING, State.RUNNING):
        raise StateConflict("Its services do not run.")
    return _read_through_worker(sandbox.public_id, service, lines)


def _read_through_worker(public_id: str, service: str, lines: int) -> str:
    asked = f"log:{public_id}:{service}:{lines}"
    try:
        if known := cache.get(asked):
            result = worker_tasks.read_logs.AsyncResult(known)
        else:
            result = worker_tasks.read_logs.delay(public_id, service, lines)
            cache.set(asked, result.id, REQUEST_REUSED_SECONDS)
        answer = result.get(timeout=TIMEOUT_SECONDS)
    except (NoAnswer, OperationalError, OSError):
        raise Unavailable("No worker has answered yet; ask again in a moment.") from None
    cache.delete(asked)
    result.forget()
    if "error" in answer:
        raise Unavailable(f"The log can't be read now: {answer['error']}")
    return str(answer["text"])
