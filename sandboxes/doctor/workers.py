"""Who does the work: the queue, a worker at its other end, the reaper; their complaints."""

from __future__ import annotations

from celery.exceptions import TimeoutError as NoAnswer
from celery.result import AsyncResult
from kombu.exceptions import OperationalError

from sandboxes.doctor.findings import Finding, Findings, Level, error, ok, redacted, warning
from sandboxes.metrics import health
from sandboxes.models import Site
from sandboxes.operators import alerts
from sandboxes.operators.overview import OperatorOverview
from sandboxes.worker import tasks as worker_tasks

ANSWER_SECONDS = 8.0


def queue() -> Findings:
    """A message goes to a worker, and its answer comes back."""
    try:
        sent = worker_tasks.ping.delay()
    except (OperationalError, OSError) as exc:
        yield error(
            f"The broker takes no message: {redacted(exc)}.",
            "Start it, or correct CELERY_BROKER_URL. No request is lost: sweeps send it again.",
        )
        return
    yield ok("The broker takes messages.")
    yield _ping_result(sent)


def _ping_result(sent: AsyncResult[str]) -> Finding:
    try:
        who = sent.get(timeout=ANSWER_SECONDS)
    except NoAnswer:
        return error(
            f"No worker answered within {ANSWER_SECONDS:g} s.",
            "Start `worker` (honcho start worker), or see its log: it may be overloaded, or use "
            "another broker or another cache than this process.",
        )
    return ok(f"A worker answered ({who}).")


def reaper() -> Findings:
    site = Site.current()
    try:
        yield ok(health.CHECKS["reaper"](site))
    except health.CheckFailed as exc:
        remedy = (
            "Start `reaper` (honcho start reaper), or have cron run `manage.py reap_sandboxes`."
        )
        yield error(str(exc), remedy)
    if site.reaper_error:
        words = f"Its last sweep complained: {site.reaper_error}"
        yield warning(words, "Run `manage.py reap_sandboxes` to see all of it.")


def operator_alerts() -> Findings:
    """What the console shows to operators."""
    found = [one for one in alerts.active_alerts(OperatorOverview()) if one.name != "reaper"]
    for alert in found:
        level = Level.ERROR if alert.is_outage else Level.WARNING
        yield Finding(level, alert.message, f"In the console (/admin/): {alert.action_label}.")
    if not found:
        yield ok("Nothing waits for an operator.")
