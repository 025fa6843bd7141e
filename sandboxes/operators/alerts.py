"""Alerts that need an operator's attention, each with an action."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.http import urlencode

from sandboxes import blueprints
from sandboxes.lib import clock
from sandboxes.metrics.health import WORKER_OVERDUE_AFTER
from sandboxes.models import Sandbox, State
from sandboxes.models.runtime_settings import config
from sandboxes.operators.overview import OperatorOverview

STUCK_AFTER = timedelta(minutes=1)
"""A launch that waits longer isn't just queued."""
CERTIFICATE_RENEWAL = timedelta(days=30)
MIN_FAILURES = 3
MAX_FAILURE_SHARE = 0.2
MAX_NAMES = 3
MAX_ROWS_PER_ACTION = 200
"""Limit of rows that an action of the admin is for at once."""


@dataclass(frozen=True)
class Alert:
    """A problem, the page that shows it, and the action that fixes it.

    `action_name` is an admin action for `row_ids` of the list at `action_url`. If it is empty,
    `action_url` is a page.
    """

    name: str
    message: str
    url: str
    action_label: str
    action_url: str
    action_name: str = ""
    row_ids: Sequence[int] = ()
    is_outage: bool = False


def active_alerts(overview: OperatorOverview) -> list[Alert]:
    """Return the current alerts, outages first."""
    found = [
        *_reaper(overview),
        *_worker(overview),
        *_engine(overview),
        *_engine_certificates(overview),
        *_stuck(overview),
        *_removals(overview),
        *_orphans(overview),
        *_capacity(overview),
        *_launches(overview),
        *_pools(overview),
        *_blueprints(),
    ]
    return sorted(found, key=lambda alert: not alert.is_outage)


def current_restrictions(overview: OperatorOverview) -> list[Alert]:
    """Return what operators have switched off, so that it isn't forgotten."""
    found = []
    if overview.in_maintenance and (until := overview.maintenance.until):
        message = f"Maintenance mode: new launches are refused until {admin_time(until)}."
        page = _maintenance_page()
        found.append(Alert("maintenance", message, page, "Change", page))
    for pool in overview.pools:
        if pool.switched_off:
            page = reverse("admin:sandboxes_pool_change", args=[pool.pk])
            message = f"The blueprint {pool.blueprint} is disabled: it can't be launched."
            found.append(Alert("disabled", message, page, "Change", page))
    return found


def admin_time(at: datetime) -> str:
    """Format a time like the admin's own pages, with seconds and zone."""
    return date_format(at, "DATETIME_FORMAT")


def sandbox_list(**filters: str) -> str:
    return reverse("admin:sandboxes_sandbox_changelist") + "?" + urlencode(filters)


def _maintenance_page() -> str:
    return reverse("admin:sandboxes_maintenance_change", args=[1])


def _settings_page() -> str:
    return reverse("admin:sandboxes_runtimesettings_change", args=[1])


def _sweep_alert(name: str, message: str, url: str = "", *, is_outage: bool = False) -> Alert:
    changelist = reverse("admin:sandboxes_maintenance_changelist")
    return Alert(
        name, message, url or _maintenance_page(), "Sweep now", changelist, "sweep", [1], is_outage
    )


def _reaper(overview: OperatorOverview) -> Iterator[Alert]:
    if overview.sweep_age is None:
        message = "The reaper hasn't run; nothing will expire. Start it, or run it from cron."
        yield _sweep_alert("reaper", message, is_outage=True)
    elif overview.is_sweep_overdue:
        minutes = abs(overview.sweep_age) // timedelta(minutes=1)
        is_past = overview.sweep_age > timedelta()
        when = "ago" if is_past else "in the future, so the clock was changed"
        message = f"The last sweep was {minutes} min {when}; nothing expires until the next."
        yield _sweep_alert("reaper", message, is_outage=True)
    elif overview.sweep.expiration_limit_exceeded:
        page = _settings_page()
        message = "Unusually many sandboxes are due at once. Check the system clock."
        yield Alert("many_due", message, page, "Raise the limit", page)


def _worker(overview: OperatorOverview) -> Iterator[Alert]:
    # Launches that wait for the first worker have an alert of their own.
    if overview.worker_age is None or abs(overview.worker_age) <= WORKER_OVERDUE_AFTER:
        return
    seconds = round(abs(overview.worker_age.total_seconds()))
    message = f"No worker has responded for {seconds} s; launches wait. Restart `worker`."
    page = sandbox_list(state__exact=State.PENDING)
    yield Alert("worker", message, page, "Start maintenance", _maintenance_page(), is_outage=True)


def _engine(overview: OperatorOverview) -> Iterator[Alert]:
    if overview.is_engine_unreachable:
        yield _sweep_alert("engine", overview.sweep.last_sweep_error, is_outage=True)
        if not overview.in_maintenance:
            message = "New launches are still accepted while the engine is unreachable."
            yield Alert(
                "undrained", message, _maintenance_page(), "Start maintenance", _maintenance_page()
            )


def _engine_certificates(overview: OperatorOverview) -> Iterator[Alert]:
    soon = overview.now + CERTIFICATE_RENEWAL
    for engine in overview.fleet.engines:
        at = engine.certificate_expires_at
        if at is None or at > soon:
            continue
        message = (
            f"A certificate for the engine {engine} expires on {at:%Y-%m-%d}; the engine is then "
            f"away. Run manage.py engine issue-certificate {engine}."
        )
        page = reverse("docs-page", args=["engines"])
        yield Alert("engine_certificate", message, page, "How to renew it", page)


def _stuck(overview: OperatorOverview) -> Iterator[Alert]:
    limit = timedelta(seconds=config.SANDBOX_PROVISION_TIMEOUT_SECONDS) + STUCK_AFTER
    waiting = [
        row for row in overview.pending if clock.is_older(row.created_at, overview.now, STUCK_AFTER)
    ]
    provisioning = [
        row
        for row in overview.live
        if row.state == State.PROVISIONING and clock.is_older(row.created_at, overview.now, limit)
    ]
    if stuck := waiting + provisioning:
        message = f"{_count(stuck)} stuck while launching. Is a worker running?"
        page = sandbox_list(state__exact=stuck[0].state)
        yield _bulk_action_alert("stuck", message, page, "Cancel launch", "cancel", stuck)


def _removals(overview: OperatorOverview) -> Iterator[Alert]:
    if failing := [row for row in overview.live if row.removal_error]:
        message = f"Couldn't remove {_count(failing)}: {failing[0].removal_error}"
        page = sandbox_list(removal_error__isempty="0")
        yield _bulk_action_alert(
            "removal", message, page, "Retry removal", "retry_removal", failing
        )


def _orphans(overview: OperatorOverview) -> Iterator[Alert]:
    if names := overview.sweep.orphans:
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        grace = config.SANDBOX_ORPHAN_GRACE_SECONDS
        message = f"Orphaned on the engine: {', '.join(names[:MAX_NAMES])}{more}. "
        yield _sweep_alert("orphans", message + f"Sweeps remove orphans after {grace} s.")


def _capacity(overview: OperatorOverview) -> Iterator[Alert]:
    running, slots = sandbox_list(state__exact=State.RUNNING), overview.gauges[0]
    too_little = 2 * config.SANDBOX_DISK_MB
    if overview.disk.is_nearly_full or (overview.disk.total and overview.disk.left < too_little):
        message = f"The engine's disk is nearly full: {overview.disk.left:.0f} MB left."
        yield Alert(
            "disk", message, running, "Start maintenance", _maintenance_page(), is_outage=True
        )
    available = overview.engine.memory_available_mb
    if available is not None and available < config.SANDBOX_MIN_FREE_MEMORY_MB:
        message = f"The engine's host is low on memory: {available} MB left."
        yield Alert(
            "memory", message, running, "Start maintenance", _maintenance_page(), is_outage=True
        )
    if overview.subnets.is_nearly_full:
        message = f"{overview.subnets.used} of {overview.subnets.total} subnets are in use."
        yield Alert("subnets", message, running, "Lower the limit", _settings_page())
    if slots.is_nearly_full:
        message = f"{slots.used} of {slots.total} slots are in use."
        yield Alert("slots", message, running, "Change the limit", _settings_page())


def _launches(overview: OperatorOverview) -> Iterator[Alert]:
    hour = overview.launch_stats[0]
    if hour.failures >= MIN_FAILURES and hour.failures > MAX_FAILURE_SHARE * hour.launches:
        message = f"{hour.failures} of {hour.launches} launches failed in the last hour."
        page = sandbox_list(end_reason__exact="provision_failed")
        yield Alert("failures", message, page, "Start maintenance", _maintenance_page())


def _pools(overview: OperatorOverview) -> Iterator[Alert]:
    for pool in overview.pools:
        page = reverse("admin:sandboxes_pool_change", args=[pool.pk])
        if pool.target_size and pool.failures:
            message = f"The warm pool of {pool.blueprint} failed {pool.failures} times in a row."
            yield Alert("pool", message, page, "Pause the pool", page)
        elif not pool.version and not pool.switched_off and overview.sweep.last_sweep_at:
            message = f"Images of {pool.blueprint} are missing. Run manage.py blueprint prepare."
            yield Alert("images", message, page, "Disable the pool", page)


def _blueprints() -> Iterator[Alert]:
    if problems := blueprints.problems():
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        page = reverse("admin:sandboxes_blueprintversion_changelist")
        message = f"The files of a blueprint have a problem{more}: {problems[0]}"
        yield Alert("blueprints", message, page, "Show the versions in use", page)


def _count(rows: Sequence[Sandbox]) -> str:
    return "1 sandbox" if len(rows) == 1 else f"{len(rows)} sandboxes"


def _bulk_action_alert(
    name: str, message: str, page: str, action_label: str, action_name: str, rows: Sequence[Sandbox]
) -> Alert:
    row_ids = [row.pk for row in rows[:MAX_ROWS_PER_ACTION]]
    url = reverse("admin:sandboxes_sandbox_changelist")
    return Alert(name, message, page, action_label, url, action_name, row_ids)
