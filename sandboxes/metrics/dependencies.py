"""What the portal depends on: broker, worker, connections to PostgreSQL, the site's certificate."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from celery import current_app
from django.conf import settings
from django.db import connection
from kombu.exceptions import OperationalError
from prometheus_client.core import GaugeMetricFamily, Metric

from sandboxes.lib import clock
from sandboxes.models import WorkerStatus

log = structlog.get_logger(__name__)

BROKER_TIMEOUT_SECONDS = 2
TLS_TIMEOUT_SECONDS = 3
CERTIFICATE_CACHE_SECONDS = 600


class BrokerUnreachable(Exception):
    """The broker accepts no messages."""


def require_broker() -> None:
    """Raise BrokerUnreachable unless the broker accepts messages."""
    try:
        with current_app.connection_for_write(connect_timeout=BROKER_TIMEOUT_SECONDS) as broker:
            broker.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT_SECONDS)
            if folder := (broker.transport_options or {}).get("folder"):
                _require_writable(Path(folder))
    except (OperationalError, OSError) as error:
        log.warning("broker_unreachable", error=str(error))
        raise BrokerUnreachable from error


def _require_writable(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} is not writable")


@dataclass(frozen=True)
class Connections:
    """Connections of all programs to PostgreSQL, and how many it accepts."""

    used: int
    maximum: int


def database_connections() -> Connections | None:
    """Return the connections to PostgreSQL; None for other databases."""
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity"
            " WHERE backend_type = 'client backend'"
        )
        return Connections(*cursor.fetchone())


def site_certificate_expiry() -> float | None:
    """Return when the certificate at SITE_URL expires, as a Unix time; None if that is unknown.

    Raises ssl.SSLCertVerificationError if the certificate isn't valid, and OSError.
    """
    site = urlsplit(settings.SITE_URL)
    if site.scheme != "https" or not site.hostname:
        return None
    address = site.hostname, site.port or 443
    context = ssl.create_default_context()
    with (
        socket.create_connection(address, TLS_TIMEOUT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=site.hostname) as encrypted,
    ):
        certificate = encrypted.getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))


@lru_cache(maxsize=1)
def _known_expiry(_period: int) -> float | None:
    try:
        return site_certificate_expiry()
    except ssl.SSLCertVerificationError as error:
        log.warning("site_certificate_invalid", error=error.verify_message)
        return 0.0
    except OSError as error:
        log.warning("site_unreachable", error=str(error))
        return None


def collect() -> Iterable[Metric]:
    """Return the metrics; unknown ones are left out."""
    try:
        require_broker()
    except BrokerUnreachable:
        yield _gauge("broker_up", "1 if the broker accepts messages.", 0)
    else:
        yield _gauge("broker_up", "1 if the broker accepts messages.", 1)
    if last := WorkerStatus.read().last_heartbeat_at:
        age = (clock.now() - last).total_seconds()
        yield _gauge("worker_age_seconds", "Time since a worker last reported.", age)
    if found := database_connections():
        yield _gauge("database_connections", "Connections to PostgreSQL.", found.used)
        text = "Connections that PostgreSQL accepts."
        yield _gauge("database_connections_max", text, found.maximum)
    expiry = _known_expiry(int(time.monotonic() // CERTIFICATE_CACHE_SECONDS))
    if expiry is not None:
        text = "Time at which the certificate at SITE_URL expires; 0 if it isn't valid."
        yield _gauge("site_certificate_expiry_timestamp_seconds", text, expiry)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"sandboxportal_{name}", text, value=value)
