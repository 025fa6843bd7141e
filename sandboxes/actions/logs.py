"""Logs of running services, read through a worker."""

from __future__ import annotations

from celery.exceptions import TimeoutError as CeleryTimeout
from django.core.cache import cache
from kombu.exceptions import OperationalError

from sandboxes import blueprints
from sandboxes.lib.concurrency import ConcurrencyLimit
from sandboxes.lib.exceptions import StateConflict, Unavailable, ValidationFailed
from sandboxes.models import Sandbox, State
from sandboxes.worker import tasks as worker_tasks

TIMEOUT_SECONDS = 0.7
"""Short, so that an engine that hangs doesn't block the threads of the web process."""
REQUEST_REUSED_SECONDS = 30
"""For how long repeated requests wait for the same result instead of starting another task."""

concurrency_limit = ConcurrencyLimit.share_of_web_threads(1 / 8, per_user=2)


def service_names(sandbox: Sandbox) -> list[str]:
    """Return the names of the services; empty if the blueprint is no longer installed."""
    blueprint = blueprints.find_for_sandbox(sandbox)
    return [service.name for service in blueprint.services] if blueprint else []


def read_log(sandbox: Sandbox, service: str, lines: int) -> str:
    """Return the last log lines of a service, with secrets redacted.

    A worker reads them, because the web process has no access to the engine.

    Raises ValidationFailed, StateConflict, Unavailable.
    """
    names = service_names(sandbox)
    if not names:
        raise StateConflict("The blueprint of this sandbox is no longer installed.")
    if service not in names:
        raise ValidationFailed("service", f"Choose one of {', '.join(names)}.")
    if sandbox.state not in (State.PROVISIONING, State.RUNNING):
        raise StateConflict("The sandbox isn't running.")
    with concurrency_limit.slot(sandbox.owner_id):
        return _read_through_worker(sandbox.public_id, service, lines)


def _read_through_worker(public_id: str, service: str, lines: int) -> str:
    cache_key = f"log:{public_id}:{service}:{lines}"
    try:
        if isinstance(task_id := cache.get(cache_key), str):
            result = worker_tasks.read_logs.AsyncResult(task_id)
        else:
            result = worker_tasks.read_logs.delay(public_id, service, lines)
            cache.set(cache_key, result.id, REQUEST_REUSED_SECONDS)
        answer = result.get(timeout=TIMEOUT_SECONDS, propagate=False)
    except (CeleryTimeout, OperationalError, OSError):
        raise Unavailable("Logs aren't available yet. Try again shortly.") from None
    cache.delete(cache_key)
    result.forget()
    match answer:
        case {"text": str(text)}:
            return text
        case {"error": str(reason)}:
            raise Unavailable(f"Couldn't read the log: {reason}")
    raise Unavailable("Couldn't read the log: the worker reported an error.")
