"""The queue, its workers, the reaper, and the admin's alerts."""

from __future__ import annotations

from celery.exceptions import TimeoutError as NoAnswer
from celery.result import AsyncResult
from kombu.exceptions import OperationalError

from sandboxes.doctor.findings import Finding, Findings, Level, error, ok, redacted, warning
from sandboxes.metrics import health
from sandboxes.models import SweepStatus
from sandboxes.operators import alerts
from sandboxes.operators.overview import OperatorOverview
from sandboxes.worker import tasks as worker_tasks

ANSWER_SECONDS = 8.0


def queue() -> Findings:
    """Send a message to a worker and wait for its result."""
    try:
        sent = worker_tasks.ping.delay()
    except (OperationalError, OSError) as exc:
        yield error(
            f"The broker rejected a message: {redacted(exc)}.",
            "Start it, or correct CELERY_BROKER_URL. No launch is lost; sweeps enqueue it again.",
        )
        return
    yield ok("The broker accepts messages.")
    yield _ping_result(sent)


def _ping_result(sent: AsyncResult[str]) -> Finding:
    try:
        worker_name = sent.get(timeout=ANSWER_SECONDS)
    except NoAnswer:
        return error(
            f"No worker responded within {ANSWER_SECONDS:g} s.",
            "Start `worker` (honcho start worker), or check its log. It may be overloaded, or "
            "use a different broker or cache than this process.",
        )
    return ok(f"A worker responded ({worker_name}).")


def heartbeat() -> Findings:
    """Report when a worker last reported to the database."""
    try:
        yield ok(health.check_worker())
    except health.CheckFailed as exc:
        yield error(str(exc), "Start or restart `worker` (honcho start worker), and check its log.")


def reaper() -> Findings:
    status = SweepStatus.current()
    try:
        yield ok(health.check_reaper())
    except health.CheckFailed as exc:
        remedy = (
            "Start `reaper` (honcho start reaper), or run `manage.py reap_sandboxes` from cron."
        )
        yield error(str(exc), remedy)
    if status.last_sweep_error:
        words = f"The last sweep reported an error: {status.last_sweep_error}"
        yield warning(words, "Run `manage.py reap_sandboxes` to see details.")


def operator_alerts() -> Findings:
    """Return the alerts that the admin shows."""
    shown = alerts.active_alerts(OperatorOverview())
    found = [one for one in shown if one.name not in ("reaper", "worker")]
    for alert in found:
        level = Level.ERROR if alert.is_outage else Level.WARNING
        yield Finding(level, alert.message, f"In the admin (/admin/): {alert.action_label}.")
    if not found:
        yield ok("No alerts in the admin.")
