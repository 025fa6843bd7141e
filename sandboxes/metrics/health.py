"""What machines ask of the portal: is it up, is it ready, and its figures for Prometheus.

Ready means that a launch would be carried out now, so each of the database, the broker, the engine
and the reaper must be well. Load balancers should ask `/healthz`: with the engine away the pages
still work, and say so.
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
from sandboxes.models import ENGINE_AWAY, Site

log = structlog.get_logger(__name__)

BROKER_TIMEOUT_SECONDS = 2
SWEEP_OVERDUE_AFTER = timedelta(minutes=3)

Check = Callable[[Site | None], str]


class CheckFailed(Exception):
    """A check failed; the message is for everybody, so it names no inner thing."""


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """The process answers; nothing else is looked at."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Whether a launch would be carried out now: 200, or 503 with the checks that failed."""
    site = _site()
    checks = {name: _result(check, site) for name, check in CHECKS.items()}
    ready = all(result["ok"] for result in checks.values())
    return JsonResponse(
        {"status": "ready" if ready else "unready", "checks": checks},
        status=HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )


def _result(check: Check, site: Site | None) -> dict[str, object]:
    try:
        return {"ok": True, "detail": check(site)}
    except CheckFailed as error:
        return {"ok": False, "detail": str(error)}


def _site() -> Site | None:
    """What the last sweep left; None when the database can't be reached."""
    try:
        return Site.objects.filter(pk=1).first() or Site()
    except DatabaseError as error:
        log.warning("database_unreachable", error=str(error))
        return None


def _database(site: Site | None) -> str:
    if site is None:
        raise CheckFailed("It can't be reached.")
    return "It answers."


def _broker(_site: Site | None) -> str:
    try:
        with current_app.connection_for_write(connect_timeout=BROKER_TIMEOUT_SECONDS) as broker:
            broker.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT_SECONDS)
            if folder := (broker.transport_options or {}).get("folder"):
                _require_writable(Path(folder))
    except (OperationalError, OSError) as error:
        log.warning("broker_unreachable", error=str(error))
        raise CheckFailed("It can't be reached.") from error
    return "It takes messages."


def _require_writable(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} is not writable")


def _engine(site: Site | None) -> str:
    """As the reaper saw it last: the web process holds no engine socket."""
    if site is None or site.reaped_at is None:
        raise CheckFailed("No sweep has told of it yet.")
    if site.reaper_error.startswith(ENGINE_AWAY):
        raise CheckFailed("The last sweep could not reach it.")
    return "The last sweep reached it."


def _reaper(site: Site | None) -> str:
    if site is None or site.reaped_at is None:
        raise CheckFailed("No sweep is known; start `manage.py reap_sandboxes`, or wait for cron.")
    seconds = round((clock.now() - site.reaped_at).total_seconds())
    if seconds > SWEEP_OVERDUE_AFTER.total_seconds():
        raise CheckFailed(f"Its last sweep was {seconds} s ago.")
    return f"It swept {seconds} s ago."


CHECKS: dict[str, Check] = {
    "database": _database,
    "broker": _broker,
    "engine": _engine,
    "reaper": _reaper,
}


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format, for the holder of `METRICS_TOKEN` and for operators."""
    if not _can_view_metrics(request):
        refusal = HttpResponse("Send METRICS_TOKEN as a bearer token.\n", status=401)
        refusal["Content-Type"], refusal["WWW-Authenticate"] = "text/plain", "Bearer"
        return refusal
    ours = CollectorRegistry()
    ours.register(PortalCollector())
    processes = ExportToDjangoView(request).content
    return HttpResponse(processes + generate_latest(ours), content_type=CONTENT_TYPE_LATEST)


def _can_view_metrics(request: HttpRequest) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if settings.METRICS_TOKEN and scheme.lower() == "bearer":
        return constant_time_compare(given.strip(), settings.METRICS_TOKEN)
    return request.user.is_authenticated and request.user.is_staff
