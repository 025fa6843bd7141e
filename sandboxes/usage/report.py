"""How much users launched, by month and blueprint, from the sandboxes that are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Count, DurationField, ExpressionWrapper, F, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce, TruncMonth

from sandboxes.lib import clock
from sandboxes.models import Sandbox, State

HOUR = timedelta(hours=1)
MB_PER_GB = 1024


@dataclass(frozen=True)
class Totals:
    """Launches, those that failed, hours that sandboxes ran, and hours times their memory in GB.

    The memory is the limit of the sandboxes, which the portal reserves for them.
    """

    launches: int = 0
    failures: int = 0
    hours: float = 0.0
    memory_gb_hours: float = 0.0

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.launches + other.launches,
            self.failures + other.failures,
            self.hours + other.hours,
            self.memory_gb_hours + other.memory_gb_hours,
        )


@dataclass(frozen=True)
class Line:
    """The totals of one user and blueprint for the sandboxes that were launched in a month."""

    month: date
    user: str
    blueprint: str
    totals: Totals


def lines(sandboxes: QuerySet[Sandbox]) -> list[Line]:
    """Return the report on these sandboxes, newest month first. A failed launch has no hours."""
    ran = ExpressionWrapper(
        Coalesce("ended_at", Value(clock.now())) - F("started_at"), output_field=DurationField()
    )
    groups = (
        sandboxes.exclude(owner=None)
        .order_by()
        .annotate(month=TruncMonth("created_at"), ran=ran)
        .values("month", "owner__email", "owner__username", "blueprint", "memory_mb")
        .annotate(
            launches=Count("pk"),
            failures=Count("pk", filter=Q(state=State.FAILED)),
            total=Sum("ran"),
        )
    )
    found: dict[tuple[date, str, str], Totals] = defaultdict(Totals)
    for group in groups:
        month: datetime = group["month"]
        user = group["owner__email"] or group["owner__username"]
        hours = (group["total"] or timedelta()) / HOUR
        found[month.date(), user, group["blueprint"]] += Totals(
            group["launches"], group["failures"], hours, hours * group["memory_mb"] / MB_PER_GB
        )
    in_order = sorted(found.items(), key=lambda item: (-item[0][0].toordinal(), *item[0][1:]))
    return [Line(*key, totals) for key, totals in in_order]


def by_month(found: Iterable[Line]) -> dict[date, Totals]:
    """Return the totals of each month, in the order of the lines."""
    months: dict[date, Totals] = defaultdict(Totals)
    for line in found:
        months[line.month] += line.totals
    return dict(months)
