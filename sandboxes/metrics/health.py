"""Health checks and metrics: `/healthz`, `/readyz` and `/metrics`.

The portal is ready if it can carry out a launch now: the database, the broker, the engine and the
reaper must be healthy. Load balancers should use `/healthz`, because the pages still work and
report the problem if the engine is down.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import structlog
from celery import current_app
from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_prometheus.exports import ExportToDjangoView  # type: ignore[import-untyped]
from kombu.exceptions import OperationalError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from sandboxes.lib import clock
from sandboxes.metrics.collector import PortalCollector
from sandboxes.models import SweepStatus

log = structlog.get_logger(__name__)

BROKER_TIMEOUT_SECONDS = 2
SWEEP_OVERDUE_AFTER = timedelta(minutes=3)

Check = Callable[[SweepStatus | None], str]


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
    status = _sweep_status()
    checks = {name: _result(check, status) for name, check in CHECKS.items()}
    ready = all(result["ok"] for result in checks.values())
    return JsonResponse(
        {"status": "ready" if ready else "unready", "checks": checks},
        status=HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )


def _result(check: Check, status: SweepStatus | None) -> dict[str, object]:
    try:
        return {"ok": True, "detail": check(status)}
    except CheckFailed as error:
        return {"ok": False, "detail": str(error)}


def _sweep_status() -> SweepStatus | None:
    """Return the results of the last sweep; None if the database is unreachable."""
    try:
        return SweepStatus.objects.filter(pk=1).first() or SweepStatus()
    except DatabaseError as error:
        log.warning("database_unreachable", error=str(error))
        return None


def _database(status: SweepStatus | None) -> str:
    if status is None:
        raise CheckFailed("Unreachable.")
    return "Connected."


def _broker(_status: SweepStatus | None) -> str:
    try:
        with current_app.connection_for_write(connect_timeout=BROKER_TIMEOUT_SECONDS) as broker:
            broker.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT_SECONDS)
            if folder := (broker.transport_options or {}).get("folder"):
                _require_writable(Path(folder))
    except (OperationalError, OSError) as error:
        log.warning("broker_unreachable", error=str(error))
        raise CheckFailed("Unreachable.") from error
    return "Accepts messages."


def _require_writable(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} is not writable")


def _engine(status: SweepStatus | None) -> str:
    """Return the engine state seen by the last sweep: the web process has no engine socket."""
    if status is None or status.last_sweep_at is None:
        raise CheckFailed("Unknown: no sweep has run yet.")
    if not status.engine_reachable:
        raise CheckFailed("The last sweep couldn't reach the engine.")
    return "The last sweep reached the engine."


def _reaper(status: SweepStatus | None) -> str:
    if status is None or status.last_sweep_at is None:
        raise CheckFailed(
            "No sweep has run yet. Start `manage.py reap_sandboxes` or wait for cron."
        )
    seconds = round((clock.now() - status.last_sweep_at).total_seconds())
    if seconds > SWEEP_OVERDUE_AFTER.total_seconds():
        raise CheckFailed(f"The last sweep was {seconds} s ago.")
    return f"Last sweep {seconds} s ago."


CHECKS: dict[str, Check] = {
    "database": _database,
    "broker": _broker,
    "engine": _engine,
    "reaper": _reaper,
}


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Return metrics in the Prometheus text format, for `METRICS_TOKEN` and for operators."""
    if not _can_view_metrics(request):
        response = HttpResponse("Send METRICS_TOKEN as a bearer token.\n", status=401)
        response["Content-Type"], response["WWW-Authenticate"] = "text/plain", "Bearer"
        return response
    registry = CollectorRegistry()
    registry.register(PortalCollector())
    process_metrics = ExportToDjangoView(request).content
    return HttpResponse(
        process_metrics + generate_latest(registry), content_type=CONTENT_TYPE_LATEST
    )


def _can_view_metrics(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if settings.METRICS_TOKEN and scheme.lower() == "bearer":
        return constant_time_compare(token.strip(), settings.METRICS_TOKEN)
    return request.user.is_authenticated and request.user.is_staff
