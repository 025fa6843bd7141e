"""Health checks and metrics: `/healthz`, `/readyz` and `/metrics`.

The portal is ready if it can carry out a launch now: the database, the broker, the worker, the
engine and the reaper must be healthy. A check is left out if one that it depends on failed, so that
each cause is reported once. Load balancers should use `/healthz`, because the pages still work and
report the problem if the engine is down.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from sandboxes.lib import clock
from sandboxes.lib.database_errors import unavailable_reason
from sandboxes.metrics import dependencies
from sandboxes.metrics.collector import DatabaseDownCollector, PortalCollector
from sandboxes.metrics.request_metrics import request_registry
from sandboxes.models import SweepStatus, WorkerStatus

log = structlog.get_logger(__name__)

SWEEP_OVERDUE_AFTER = timedelta(minutes=3)
WORKER_OVERDUE_AFTER = timedelta(seconds=45)
"""Four heartbeats, or one and a main loop that hangs."""


class CheckFailed(Exception):
    """A check failed. The message is public, so it must not contain internal details."""


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Return 200 if the process responds; nothing else is checked."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Return 200 if a launch can be carried out now, or 503 with the failed checks."""
    checks: dict[str, dict[str, object]] = {}
    for name, check in CHECKS.items():
        if all(checks.get(needed, {}).get("ok") for needed in DEPENDENCIES.get(name, ())):
            checks[name] = _result(check)
    ready = all(result["ok"] for result in checks.values())
    return JsonResponse(
        {"status": "ready" if ready else "unready", "checks": checks},
        status=HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )


def _result(check: Callable[[], str]) -> dict[str, object]:
    try:
        return {"ok": True, "detail": check()}
    except CheckFailed as error:
        return {"ok": False, "detail": str(error)}
    except DatabaseError as error:
        log.warning("database_unreachable", error=str(error))
        return {"ok": False, "detail": "Unknown: the database doesn't respond."}


def check_database() -> str:
    """Return that the database responds. Raises CheckFailed."""
    try:
        SweepStatus.objects.filter(pk=1).exists()
    except DatabaseError as error:
        log.warning("database_unreachable", error=str(error))
        raise CheckFailed(unavailable_reason(error)) from error
    return "Connected."


def check_broker() -> str:
    """Return that the broker accepts messages. Raises CheckFailed."""
    try:
        dependencies.require_broker()
    except dependencies.BrokerUnreachable as error:
        raise CheckFailed("Unreachable.") from error
    return "Accepts messages."


def check_worker() -> str:
    """Return when a worker last reported. Raises CheckFailed if that was long ago."""
    last = WorkerStatus.read().last_heartbeat_at
    if last is None:
        raise CheckFailed("No worker has reported yet. Start `worker`.")
    age = clock.now() - last
    if abs(age) > WORKER_OVERDUE_AFTER:
        raise CheckFailed(f"No worker is responding: the last report was {_ago(age)}.")
    return f"A worker reported {_ago(age)}."


def check_engine() -> str:
    """Return the engine state seen by the last sweep: the web process has no engine socket."""
    status = SweepStatus.read()
    if status.last_sweep_at is None:
        raise CheckFailed("Unknown: no sweep has run yet.")
    if not status.engine_reachable:
        raise CheckFailed("The last sweep couldn't reach the engine.")
    return "The last sweep reached the engine."


def check_reaper() -> str:
    """Return when the last sweep ended. Raises CheckFailed if that was long ago."""
    status = SweepStatus.read()
    if status.last_sweep_at is None:
        raise CheckFailed(
            "No sweep has run yet. Start `manage.py reap_sandboxes` or wait for cron."
        )
    age = clock.now() - status.last_sweep_at
    if abs(age) > SWEEP_OVERDUE_AFTER:
        raise CheckFailed(f"The last sweep was {_ago(age)}.")
    return f"Last sweep {_ago(age)}."


def _ago(age: timedelta) -> str:
    seconds = round(age.total_seconds())
    if seconds < 0:
        return f"{-seconds} s in the future, so the clock was changed"
    return f"{seconds} s ago"


CHECKS: dict[str, Callable[[], str]] = {
    "database": check_database,
    "broker": check_broker,
    "worker": check_worker,
    "engine": check_engine,
    "reaper": check_reaper,
}
DEPENDENCIES = {
    "worker": ("database", "broker"),
    "engine": ("database",),
    "reaper": ("database",),
}
"""Checks whose result is only known if other ones succeed."""


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Return metrics in the Prometheus text format, for `METRICS_TOKEN` and for operators."""
    if not _can_view_metrics(request):
        response = HttpResponse("Send METRICS_TOKEN as a bearer token.\n", status=401)
        response["Content-Type"], response["WWW-Authenticate"] = "text/plain", "Bearer"
        return response
    try:
        portal = _exposition(PortalCollector())
    except DatabaseError as error:
        log.warning("database_unreachable", error=str(error))
        portal = _exposition(DatabaseDownCollector())
    return HttpResponse(
        generate_latest(request_registry()) + portal, content_type=CONTENT_TYPE_LATEST
    )


def _exposition(collector: Collector) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)


def _can_view_metrics(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if settings.METRICS_TOKEN and scheme.lower() == "bearer":
        return constant_time_compare(token.strip(), settings.METRICS_TOKEN)
    return request.user.is_authenticated and request.user.is_staff
