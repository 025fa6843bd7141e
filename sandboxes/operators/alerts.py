"""What needs an operator now, each with what mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.urls import reverse
from django.utils.http import urlencode

from sandboxes.models import Sandbox, State
from sandboxes.models.runtime_settings import config
from sandboxes.operators.overview import Overview

STUCK_AFTER = timedelta(minutes=1)
"""A launch that waits for so long is not only in a queue."""
FAILURES_MATTER = 3
FAILED_SHARE = 0.2
NAMED = 3
MOST_AT_ONCE = 200
"""So many at most are handed to a question at once."""


@dataclass(frozen=True)
class Alarm:
    """One trouble, where it is looked at, and the act that mends it.

    `question` is the name of one in the admin, asked of `keys` on the list at `act_url`; without
    one, `act_url` is a page.
    """

    name: str
    words: str
    url: str
    act: str
    act_url: str
    question: str = ""
    keys: Sequence[int] = ()
    is_outage: bool = False


def alarms(seen: Overview) -> list[Alarm]:
    """The worst first."""
    found = [
        *_reaper(seen),
        *_engine(seen),
        *_stuck(seen),
        *_removals(seen),
        *_orphans(seen),
        *_room(seen),
        *_launches(seen),
        *_pools(seen),
    ]
    return sorted(found, key=lambda alarm: not alarm.is_outage)


def sandbox_list(**filters: str) -> str:
    return reverse("admin:sandboxes_sandbox_changelist") + "?" + urlencode(filters)


def _site() -> str:
    return reverse("admin:sandboxes_site_change", args=[1])


def _settings() -> str:
    return reverse("admin:sandboxes_sitesettings_change", args=[1])


def _sweep_now(name: str, words: str, url: str = "", *, is_outage: bool = False) -> Alarm:
    sites = reverse("admin:sandboxes_site_changelist")
    return Alarm(name, words, url or _site(), "Sweep now", sites, "sweep", [1], is_outage)


def _reaper(seen: Overview) -> Iterator[Alarm]:
    if seen.since_sweep is None:
        words = "No sweep is known: nothing ends by itself. Start the reaper, or let cron sweep."
        yield _sweep_now("reaper", words, is_outage=True)
    elif seen.reaper_is_late:
        minutes = seen.since_sweep // timedelta(minutes=1)
        words = f"The last sweep was {minutes} min ago: nothing ends by itself."
        yield _sweep_now("reaper", words, is_outage=True)
    elif "are due at once" in seen.site.reaper_error:
        page = _settings()
        words = "Very many sandboxes are due at once; the clock may have jumped."
        yield Alarm("many_due", words, page, "Raise the bound", page)


def _engine(seen: Overview) -> Iterator[Alarm]:
    if seen.engine_is_away:
        yield _sweep_now("engine", f"{seen.site.reaper_error}", is_outage=True)
        if not seen.drained:
            words = "People still ask for sandboxes while the engine is away."
            yield Alarm("undrained", words, _site(), "Begin maintenance", _site())


def _stuck(seen: Overview) -> Iterator[Alarm]:
    limit = timedelta(seconds=config.SANDBOX_PROVISION_TIMEOUT_SECONDS) + STUCK_AFTER
    waits = [row for row in seen.waiting if seen.now - row.created_at > STUCK_AFTER]
    made = [
        row
        for row in seen.live
        if row.state == State.PROVISIONING and seen.now - row.created_at > limit
    ]
    if stuck := waits + made:
        words = f"{_count(stuck)} stuck on the way to running. Is there a worker?"
        page = sandbox_list(state__exact=stuck[0].state)
        yield _act("stuck", words, page, "Cancel launch", "cancel", stuck)


def _removals(seen: Overview) -> Iterator[Alarm]:
    if failing := [row for row in seen.live if row.removal_error]:
        words = f"{_count(failing)} could not be removed: {failing[0].removal_error}"
        page = sandbox_list(removal_error__isempty="0")
        yield _act("removal", words, page, "Remove again now", "retry_removal", failing)


def _orphans(seen: Overview) -> Iterator[Alarm]:
    if names := seen.site.orphans:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        grace = config.SANDBOX_ORPHAN_GRACE_SECONDS
        words = f"Nobody needs {', '.join(names[:NAMED])}{more}, and it is on the engine still. "
        yield _sweep_now("orphans", words + f"A sweep removes what is older than {grace} s.")


def _room(seen: Overview) -> Iterator[Alarm]:
    running, places = sandbox_list(state__exact=State.RUNNING), seen.meters[0]
    too_little = 2 * config.SANDBOX_DISK_MB
    if seen.disk.is_nearly_full or (seen.disk.total and seen.disk.left < too_little):
        words = f"The engine's disk is nearly full: {seen.disk.left:.0f} MB are left."
        yield Alarm("disk", words, running, "Begin maintenance", _site(), is_outage=True)
    available = seen.site.memory_available_mb
    if available is not None and available < config.SANDBOX_MIN_FREE_MEMORY_MB:
        words = f"The engine's machine is short of memory: {available} MB are left."
        yield Alarm("memory", words, running, "Begin maintenance", _site(), is_outage=True)
    if seen.subnets.is_nearly_full:
        words = f"{seen.subnets.used} of {seen.subnets.total} subnets are taken."
        yield Alarm("subnets", words, running, "Lower the limit", _settings())
    if places.is_nearly_full:
        words = f"{places.used} of {places.total} places are taken."
        yield Alarm("places", words, running, "Change the limit", _settings())


def _launches(seen: Overview) -> Iterator[Alarm]:
    hour = seen.periods[0]
    if hour.failures >= FAILURES_MATTER and hour.failures > FAILED_SHARE * hour.launches:
        words = f"{hour.failures} of {hour.launches} launches failed in the last hour."
        page = sandbox_list(end_reason__exact="provision_failed")
        yield Alarm("failures", words, page, "Begin maintenance", _site())


def _pools(seen: Overview) -> Iterator[Alarm]:
    for pool in seen.pools:
        page = reverse("admin:sandboxes_pool_change", args=[pool.pk])
        if pool.target_size and pool.failures:
            words = f"The pool of {pool.blueprint} failed {pool.failures} times in a row."
            yield Alarm("pool", words, page, "Pause it", page)
        elif not pool.version and not pool.switched_off and seen.site.reaped_at:
            words = f"Images of {pool.blueprint} are missing: run manage.py build_images."
            yield Alarm("images", words, page, "Switch it off", page)


def _count(rows: Sequence[Sandbox]) -> str:
    return "1 sandbox" if len(rows) == 1 else f"{len(rows)} sandboxes"


def _act(
    name: str, words: str, page: str, act: str, question: str, rows: Sequence[Sandbox]
) -> Alarm:
    keys = [row.pk for row in rows[:MOST_AT_ONCE]]
    at = reverse("admin:sandboxes_sandbox_changelist")
    return Alarm(name, words, page, act, at, question, keys)
