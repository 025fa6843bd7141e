"""The portal's metrics, read from the database on each scrape.

Web, worker and reaper are separate processes that record their work in the database, so each of
them returns the same values. `docs/metrics.md` explains each series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate

from django.db.models import Count, Min, Sum
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from sandboxes import blueprints
from sandboxes.core import capacity, placement
from sandboxes.core.fleet import Fleet
from sandboxes.gateway import certificate
from sandboxes.lib import clock
from sandboxes.metrics import dependencies, outcomes
from sandboxes.models import (
    EndReason,
    Engine,
    Funding,
    Maintenance,
    OutcomeCount,
    Pool,
    Sandbox,
    State,
    SweepStatus,
)
from sandboxes.models.runtime_settings import config

ENGINE_CALLS = ("create", "observe", "destroy", "sweep")
MEGABYTE = 1024 * 1024


class PortalCollector(Collector):
    """Collector of the portal's metrics, computed on each scrape."""

    def collect(self) -> Iterable[Metric]:
        fleet = Fleet.read()
        yield _gauge("database_up", "1 if the database responds.", 1)
        yield from dependencies.collect()
        yield _count_by("state", "Sandboxes in each state.", list(State))
        yield _count_by("end_reason", "Sandboxes by end reason.", list(EndReason))
        yield _gauge(
            "site_limit",
            "Maximum number of sandboxes of this portal.",
            capacity.site_limit(fleet),
        )
        stuck = Sandbox.objects.live().exclude(removal_error="").count()
        yield _gauge("removals_failing", "Sandboxes whose removal failed and is retried.", stuck)
        yield _gauge(
            "oldest_pending_seconds", "Age of the oldest waiting launch.", _oldest_pending()
        )
        yield from _funding()
        yield from _pools()
        yield from _outcomes(outcomes.all_time())
        yield from _reaper(SweepStatus.current())
        in_maintenance = Maintenance.current().is_active
        yield _gauge("maintenance", "1 while the portal is in maintenance.", in_maintenance)
        yield from _engine(Engine.default())
        yield from _engines(fleet)
        yield from _gateway()
        yield _engine_certificates()


class DatabaseDownCollector(Collector):
    """Collector of what is known without the database."""

    def collect(self) -> Iterable[Metric]:
        yield _gauge("database_up", "1 if the database responds.", 0)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"sandboxportal_{name}", text, value=value)


def _count_by(column: str, text: str, values: list[str]) -> Metric:
    """Count sandboxes for each value, including zeros: a missing series triggers no alert."""
    counted = Sandbox.objects.order_by().values_list(column).annotate(Count("pk"))
    known = dict(counted)
    return _labeled_gauge(
        f"sandboxes_by_{column}", text, column, {v: known.get(v, 0) for v in values}
    )


def _labeled_gauge(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(f"sandboxportal_{name}", text, labels=[label])
    for value, count in values.items():
        family.add_metric([str(value)], count)
    return family


def _oldest_pending() -> float:
    oldest = Sandbox.objects.filter(state=State.PENDING).aggregate(at=Min("created_at"))["at"]
    return (clock.now() - oldest).total_seconds() if oldest else 0.0


def _funding() -> Iterable[Metric]:
    """Count accounts by state, if a blueprint asks for accounts or a sandbox still has one."""
    live = Sandbox.objects.live().order_by().exclude(funding="")
    known = dict(live.values_list("funding").annotate(Count("pk")))
    if known or any(blueprint.stellar for blueprint in blueprints.available().values()):
        text = "Sandboxes that have not ended and have an account, by its funding state."
        zeros = dict.fromkeys(map(str, Funding), 0)
        yield _labeled_gauge("funding", text, "funding", zeros | known)


def _pools() -> Iterable[Metric]:
    pools = list(Pool.objects.order_by("blueprint"))
    counted = Sandbox.objects.pooled().order_by().values_list("blueprint").annotate(Count("pk"))
    ready = dict.fromkeys((pool.blueprint for pool in pools), 0) | dict(counted)
    wanted = {pool.blueprint: pool.target_size for pool in pools}
    failures = {pool.blueprint: pool.failures for pool in pools}
    yield _labeled_gauge(
        "pool_ready", "Sandboxes that are ready in the warm pool.", "blueprint", ready
    )
    yield _labeled_gauge("pool_wanted", "Target size of the warm pool.", "blueprint", wanted)
    yield _labeled_gauge(
        "pool_failures",
        "Consecutive failures to provision for the warm pool.",
        "blueprint",
        failures,
    )


def _outcomes(rows: list[OutcomeCount]) -> Iterable[Metric]:
    for act, text in (
        ("launch", "Duration of launches, from request to result."),
        ("destroy", "Duration of removals."),
    ):
        labels = ["start", "result"]
        family = HistogramMetricFamily(f"sandboxportal_{act}_seconds", text, labels=labels)
        for row in rows:
            if row.operation == act:
                family.add_metric([row.launch_kind, row.result], _buckets(row), row.seconds)
        yield family
    errors = {row.result: row.count for row in rows if row.operation == "engine_error"}
    text = "Engine calls that were refused or got no answer."
    counter = CounterMetricFamily("sandboxportal_engine_errors", text, labels=["call"])
    for call in ENGINE_CALLS:
        counter.add_metric([call], errors.get(call, 0))
    yield counter


def _buckets(row: OutcomeCount) -> list[tuple[str, float]]:
    edges = [*(f"{bound:g}" for bound in outcomes.BUCKET_BOUNDS), "+Inf"]
    return list(zip(edges, accumulate(row.buckets), strict=True))


def _reaper(status: SweepStatus) -> Iterable[Metric]:
    if status.last_sweep_at is None:
        return
    age = (clock.now() - status.last_sweep_at).total_seconds()
    yield _gauge("reaper_age_seconds", "Time since the last sweep ended.", age)
    yield _gauge(
        "reaper_failed", "1 if the last sweep reported errors.", bool(status.last_sweep_error)
    )
    yield _gauge("sweep_seconds", "Duration of the last sweep.", status.seconds or 0)
    text = "Orphans that the last sweep left on the engine."
    yield _gauge("orphans", text, len(status.orphans))
    away = not status.engine_reachable
    yield _gauge("engine_up", "1 if the last sweep reached the engine.", not away)


def _engine(engine: Engine) -> Iterable[Metric]:
    """Return metrics of the engine; unknown ones are left out."""
    total = config.SANDBOX_SUBNETS.num_addresses // capacity.SUBNET_ADDRESSES
    yield _gauge("subnets", "Number of subnets for sandboxes.", total)
    if engine.subnets_taken is not None:
        yield _gauge("subnets_taken", "Number of these subnets in use.", engine.subnets_taken)
    if engine.memory_available_mb is not None:
        text = "Available memory of the engine's host."
        yield _gauge("memory_available_bytes", text, engine.memory_available_mb * MEGABYTE)
    if engine.disk_free_mb is not None and engine.disk_total_mb is not None:
        text = "Size of the disk that holds the sandboxes."
        yield _gauge("disk_size_bytes", text, engine.disk_total_mb * MEGABYTE)
        yield _gauge("disk_free_bytes", "Free space on this disk.", engine.disk_free_mb * MEGABYTE)


def _engine_certificates() -> Metric:
    """Return when the certificates of connections to added engines expire, by engine."""
    text = "Time at which the first certificate of an engine's connection expires."
    name = "sandboxportal_engine_certificate_expiry_timestamp_seconds"
    family = GaugeMetricFamily(name, text, labels=["engine"])
    for engine in Engine.objects.present():
        if at := engine.certificate_expires_at:
            family.add_metric([engine.name], at.timestamp())
    return family


def _engines(fleet: Fleet) -> Iterable[Metric]:
    """Return metrics of each engine, in one query for all."""
    now = clock.now()
    live = Sandbox.objects.live().order_by().values_list("engine_id")
    sandboxes, promised = {}, {}
    for name, count, memory_mb in live.annotate(Count("pk"), Sum("memory_mb")):
        sandboxes[name], promised[name] = count, memory_mb * MEGABYTE
    figures: dict[str, tuple[str, Callable[[Engine], float]]] = {
        "away": ("1 if the engine didn't answer.", lambda one: one.away_since is not None),
        "draining_seconds": (
            "Time since the engine is being drained; 0 if it isn't.",
            lambda one: (now - one.draining_since).total_seconds() if one.draining_since else 0,
        ),
        "sandboxes": (
            "Sandboxes on the engine that have not ended.",
            lambda one: sandboxes.get(one.name, 0),
        ),
        "promised_bytes": (
            "Memory that the engine's sandboxes were promised.",
            lambda one: promised.get(one.name, 0),
        ),
        "usable_bytes": (
            "Memory that may be promised.",
            lambda one: capacity.usable_memory(one) * MEGABYTE,
        ),
        "missing_images": (
            "Images of blueprints that the engine lacks.",
            lambda one: len(placement.missing_images(one)),
        ),
    }
    for name, (text, value) in figures.items():
        family = GaugeMetricFamily(f"sandboxportal_engine_{name}", text, labels=["engine"])
        for engine in fleet.engines:
            family.add_metric([engine.name], value(engine))
        yield family


def _gateway() -> Iterable[Metric]:
    """Return when the gateway's certificate expires, if it is in a file."""
    if current := certificate.read():
        text = "Time at which the gateway's certificate expires."
        at = current.not_valid_after_utc.timestamp()
        yield _gauge("gateway_certificate_expiry_timestamp_seconds", text, at)
