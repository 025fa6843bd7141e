"""The portal's figures, read from the database whenever Prometheus asks."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Count, Min
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sandboxes import clock
from sandboxes.limits import site_limit
from sandboxes.models import EndReason, Sandbox, Site, State


class PortalFigures(Collector):
    """Computed by whichever process answers, so there is nothing to add up between processes."""

    def collect(self) -> Iterable[Metric]:
        yield _by("state", "Sandboxes in each state.", list(State))
        yield _by("end_reason", "Sandboxes by why they ended.", list(EndReason))
        yield _figure("site_limit", "How many sandboxes this portal carries.", site_limit())
        stuck = Sandbox.objects.live().exclude(removal_error="").count()
        yield _figure("removals_failing", "Sandboxes that could not be removed yet.", stuck)
        yield _figure("oldest_pending_seconds", "How long a launch has waited.", _oldest_pending())
        yield from _reaper()


def _figure(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"sandboxportal_{name}", text, value=value)


def _by(column: str, text: str, values: list[str]) -> Metric:
    """One line for each value, also where there is none: a missing line raises no alarm."""
    counted = Sandbox.objects.order_by().values_list(column).annotate(Count("pk"))
    known = dict(counted)
    family = GaugeMetricFamily(f"sandboxportal_sandboxes_by_{column}", text, labels=[column])
    for value in values:
        family.add_metric([str(value)], known.get(str(value), 0))
    return family


def _oldest_pending() -> float:
    oldest = Sandbox.objects.filter(state=State.PENDING).aggregate(at=Min("created_at"))["at"]
    return (clock.now() - oldest).total_seconds() if oldest else 0.0


def _reaper() -> Iterable[Metric]:
    site = Site.objects.filter(pk=1).first()
    if site is None or site.reaped_at is None:
        return
    age = (clock.now() - site.reaped_at).total_seconds()
    yield _figure("reaper_age_seconds", "Time since the last sweep ended.", age)
    yield _figure("reaper_failed", "1 when the last sweep met an error.", bool(site.reaper_error))
