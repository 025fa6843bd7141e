"""A sandbox's resource usage as sparklines and as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from sandboxes import blueprints
from sandboxes.models import Sandbox, State
from sandboxes.usage.series import UsagePoint, peak, to_series
from sandboxes.views.helpers import Request, get_owned_sandbox, login_required_page

WIDTH, HEIGHT = 240, 56
"""Size of a sparkline's SVG view box."""
MAX_POINTS, MAX_ROWS = 120, 20
TOP_MARGIN = 1.25
WHOLE_NUMBERS_FROM = 100
MIN_TOP_SHARE = 0.1
"""Share of the limit that the vertical axis shows at least, so that low values look low."""


@dataclass(frozen=True)
class Metric:
    """A metric: its label, unit, and how to read it from a usage point."""

    name: str
    title: str
    unit: str
    digits: int
    read: Callable[[UsagePoint], float | None]
    peak: str = ""
    """Its key in the stored peaks."""
    limit: str = ""
    """The sandbox's attribute with its limit, if any."""


METRICS = (
    Metric("memory", "Memory", "MB", 0, lambda m: m.memory_mb, "memory_mb", "memory_mb"),
    Metric("cpu", "CPU", "cores", 2, lambda m: m.cpus, "cpus", "cpus"),
    Metric("disk", "Disk", "MB", 0, lambda m: m.disk_mb, "disk_mb", "disk_mb"),
    Metric(
        "requests", "Requests", "per min", 1,
        lambda m: m.requests_per_minute, "requests_per_minute",
    ),
    Metric("traffic", "Traffic", "KB/min", 1, lambda m: m.traffic_kb),
)  # fmt: skip


@dataclass(frozen=True)
class Sparkline:
    """A metric over the sandbox's lifetime; `limit` is None if it has none."""

    metric: Metric
    limit: float | None
    points: Sequence[tuple[float, float]]
    """Horizontal positions from 0 to 1, and values."""
    peak: float | None
    total: float | None = None
    """The total of a counter."""

    @property
    def now(self) -> float | None:
        return self.points[-1][1] if self.points else None

    @property
    def digits(self) -> int:
        """Decimal places; none for large values."""
        return 0 if (self.peak or 0) >= WHOLE_NUMBERS_FROM else self.metric.digits

    @property
    def top(self) -> float:
        """The value at the upper edge of the plot."""
        highest = TOP_MARGIN * max((value for _, value in self.points), default=0)
        if self.limit is None:
            return highest or 1.0
        return min(max(highest, MIN_TOP_SHARE * self.limit), max(self.limit, highest / TOP_MARGIN))

    @cached_property
    def vertices(self) -> list[tuple[float, float]]:
        """Points of the line in SVG units; the first value extends to the left edge."""
        height = HEIGHT - 2
        vertices = [(WIDTH * x, HEIGHT - height * value / self.top) for x, value in self.points]
        return [(0, vertices[0][1]), *vertices] if vertices and vertices[0][0] else vertices

    @cached_property
    def line(self) -> str:
        """The points of an SVG polyline."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.vertices)

    @property
    def area(self) -> str:
        return f"0,{HEIGHT} {self.line} {self.vertices[-1][0]:.1f},{HEIGHT}" if self.line else ""


@dataclass(frozen=True)
class UsageHistory:
    """The recorded usage of a sandbox."""

    sandbox: Sandbox
    points: Sequence[UsagePoint]
    last_sample_id: int
    """Primary key of the last sample; polls send it back."""

    @property
    def is_live(self) -> bool:
        return self.sandbox.state == State.RUNNING

    @property
    def is_shown(self) -> bool:
        """Whether there is data or will be, so that the page reserves space."""
        return self.sandbox.is_active or bool(self.points) or bool(self.sandbox.peak)

    @property
    def first_at(self) -> datetime:
        return self.points[0].at

    @property
    def last_at(self) -> datetime:
        return self.points[-1].at

    @cached_property
    def peak(self) -> dict[str, float | None]:
        return self.sandbox.peak or (peak(self.points) if self.points else {})

    @property
    def has_requests(self) -> bool:
        """Whether requests are counted; a worker counts them just after each sample."""
        if self.peak.get("requests") is not None:
            return True
        blueprint = blueprints.find_for_sandbox(self.sandbox)
        return bool(self.sandbox.is_active and blueprint and blueprint.requests)

    @cached_property
    def metrics(self) -> list[Metric]:
        """Metrics to show in the table."""
        return [metric for metric in METRICS if self.has_requests or metric.name != "requests"]

    @cached_property
    def sparklines(self) -> list[Sparkline]:
        """Four sparklines; traffic replaces requests if these aren't counted."""
        hidden = "traffic" if self.has_requests else "requests"
        return [self._sparkline(metric) for metric in METRICS if metric.name != hidden]

    def _sparkline(self, metric: Metric) -> Sparkline:
        known = downsample(self.points, metric.read, MAX_POINTS)
        points = [(self._position(at), value) for at, value in known]
        most = max((value for _, value in points), default=self.peak.get(metric.peak))
        limit = getattr(self.sandbox, metric.limit) if metric.limit else None
        total = self.peak.get("requests") if metric.name == "requests" else None
        return Sparkline(metric, limit, points, most, total)

    def _position(self, at: datetime) -> float:
        """Return the horizontal position: 0 for the first sample, 1 for the last."""
        whole = (self.last_at - self.first_at).total_seconds()
        return (at - self.first_at).total_seconds() / whole if whole else 1.0

    @property
    def rows(self) -> list[tuple[datetime, list[float | None]]]:
        """At most MAX_ROWS rows of the table, newest first."""
        step = -(-len(self.points) // MAX_ROWS) or 1
        selected = list(self.points)[::-1][::step]
        return [(point.at, [metric.read(point) for metric in self.metrics]) for point in selected]


def downsample(
    points: Sequence[UsagePoint], read: Callable[[UsagePoint], float | None], most: int
) -> list[tuple[datetime, float]]:
    """Return at most `most` points: the last one, and the highest of each group, to keep peaks."""
    known = [(point.at, value) for point in points if (value := read(point)) is not None]
    earlier, last = known[:-1], known[-1:]
    step = -(-len(earlier) // (most - 1)) or 1
    groups = (earlier[start : start + step] for start in range(0, len(earlier), step))
    return [max(group, key=lambda point: point[1]) for group in groups] + last


def get_usage(sandbox: Sandbox) -> UsageHistory:
    rows = list(sandbox.samples.order_by("pk"))
    return UsageHistory(sandbox, to_series(rows, sandbox.started_at), rows[-1].pk if rows else 0)


@login_required_page
@require_GET
def usage(request: Request, public_id: str) -> HttpResponse:
    """Return the sparklines of an open page, or 204 until there is a new sample."""
    history = get_usage(get_owned_sandbox(request, public_id))
    if not request.htmx:
        return redirect("sandbox", public_id)
    if history.is_live and request.GET.get("etag") == str(history.last_sample_id):
        return HttpResponse(status=204)
    return render(request, "sandboxes/_usage.html", {"usage": history, "is_poll": True})
