"""What a sandbox consumed, as small plots and as numbers."""

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
from sandboxes.views.helpers import Request, own_sandbox, page

WIDTH, HEIGHT = 240, 56
"""Of a plot, in its own units."""
MOST_POINTS, MOST_ROWS = 120, 20
HEADROOM = 1.25
LARGE = 100
LOWEST_TOP = 0.1
"""Of the limit: less than that is next to nothing, and looks like it."""


@dataclass(frozen=True)
class Measure:
    """Something that is told of each moment, and how."""

    name: str
    title: str
    unit: str
    digits: int
    read: Callable[[UsagePoint], float | None]
    peak: str = ""
    """What it is called among the peaks that are kept."""
    limit: str = ""
    """The sandbox's attribute with its limit, if it has one."""


MEASURES = (
    Measure("memory", "Memory", "MB", 0, lambda m: m.memory_mb, "memory_mb", "memory_mb"),
    Measure("cpu", "CPU", "cores", 2, lambda m: m.cpus, "cpus", "cpus"),
    Measure("disk", "Disk", "MB", 0, lambda m: m.disk_mb, "disk_mb", "disk_mb"),
    Measure(
        "requests", "Requests", "per min", 1,
        lambda m: m.requests_per_minute, "requests_per_minute",
    ),
    Measure("traffic", "Traffic", "KB/min", 1, lambda m: m.traffic_kb),
)  # fmt: skip


@dataclass(frozen=True)
class Plot:
    """One line over the sandbox's life; `limit` None where there is none."""

    measure: Measure
    limit: float | None
    points: Sequence[tuple[float, float]]
    """How far from the left edge, 0 to 1, and the value."""
    most: float | None
    in_all: float | None = None
    """The count of all its life, of what is counted."""

    @property
    def now(self) -> float | None:
        return self.points[-1][1] if self.points else None

    @property
    def digits(self) -> int:
        """Behind the point: none where the numbers are large."""
        return 0 if (self.most or 0) >= LARGE else self.measure.digits

    @property
    def top(self) -> float:
        """The value at the upper edge."""
        highest = HEADROOM * max((value for _, value in self.points), default=0)
        if self.limit is None:
            return highest or 1.0
        return min(max(highest, LOWEST_TOP * self.limit), max(self.limit, highest / HEADROOM))

    @cached_property
    def corners(self) -> list[tuple[float, float]]:
        """Of the line; what was measured first is drawn from the left edge on."""
        height = HEIGHT - 2
        corners = [(WIDTH * x, HEIGHT - height * value / self.top) for x, value in self.points]
        return [(0, corners[0][1]), *corners] if corners and corners[0][0] else corners

    @cached_property
    def line(self) -> str:
        """The points of an SVG polyline."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.corners)

    @property
    def area(self) -> str:
        return f"0,{HEIGHT} {self.line} {self.corners[-1][0]:.1f},{HEIGHT}" if self.line else ""


@dataclass(frozen=True)
class Life:
    """All that was measured of one sandbox."""

    sandbox: Sandbox
    moments: Sequence[UsagePoint]
    last: int
    """The key of the last sample: a poll asks for what is newer."""

    @property
    def is_live(self) -> bool:
        return self.sandbox.state == State.RUNNING

    @property
    def is_shown(self) -> bool:
        """Something is known, or will be: its place is kept."""
        return self.sandbox.is_active or bool(self.moments) or bool(self.sandbox.peak)

    @property
    def began(self) -> datetime:
        return self.moments[0].at

    @property
    def ended(self) -> datetime:
        return self.moments[-1].at

    @cached_property
    def peak(self) -> dict[str, float | None]:
        return self.sandbox.peak or (peak(self.moments) if self.moments else {})

    @property
    def has_requests(self) -> bool:
        """They were counted or, while it lives, will be: a worker does so just after the sample."""
        if self.peak.get("requests") is not None:
            return True
        blueprint = blueprints.available().get(self.sandbox.blueprint)
        return bool(self.sandbox.is_active and blueprint and blueprint.requests)

    @cached_property
    def measures(self) -> list[Measure]:
        """What is told of each moment."""
        return [measure for measure in MEASURES if self.has_requests or measure.name != "requests"]

    @cached_property
    def plots(self) -> list[Plot]:
        """Four: of how it is talked to, requests where they are counted, and bytes elsewhere."""
        hidden = "traffic" if self.has_requests else "requests"
        return [self._plot(measure) for measure in MEASURES if measure.name != hidden]

    def _plot(self, measure: Measure) -> Plot:
        known = thinned(self.moments, measure.read, MOST_POINTS)
        points = [(self._place(at), value) for at, value in known]
        most = max((value for _, value in points), default=self.peak.get(measure.peak))
        limit = getattr(self.sandbox, measure.limit) if measure.limit else None
        in_all = self.peak.get("requests") if measure.name == "requests" else None
        return Plot(measure, limit, points, most, in_all)

    def _place(self, at: datetime) -> float:
        """From 0, when it was first measured, to 1, when it last was."""
        whole = (self.ended - self.began).total_seconds()
        return (at - self.began).total_seconds() / whole if whole else 1.0

    @property
    def rows(self) -> list[tuple[datetime, list[float | None]]]:
        """Some of the moments as numbers, the newest first."""
        every = -(-len(self.moments) // MOST_ROWS) or 1
        chosen = list(self.moments)[::-1][::every]
        return [(one.at, [measure.read(one) for measure in self.measures]) for one in chosen]


def thinned(
    life: Sequence[UsagePoint], read: Callable[[UsagePoint], float | None], most: int
) -> list[tuple[datetime, float]]:
    """At most so many points, the last as it is; of several moments in one, the highest, so that no
    peak is lost."""
    known = [(moment.at, value) for moment in life if (value := read(moment)) is not None]
    earlier, last = known[:-1], known[-1:]
    every = -(-len(earlier) // (most - 1)) or 1
    parts = (earlier[start : start + every] for start in range(0, len(earlier), every))
    return [max(part, key=lambda point: point[1]) for part in parts] + last


def usage_of(sandbox: Sandbox) -> Life:
    rows = list(sandbox.samples.order_by("pk"))
    return Life(sandbox, to_series(rows, sandbox.started_at), rows[-1].pk if rows else 0)


@page
@require_GET
def usage(request: Request, public_id: str) -> HttpResponse:
    """News for the plots of an open page: nothing until the next sample, or all of them."""
    life = usage_of(own_sandbox(request, public_id))
    if not request.htmx:
        return redirect("sandbox", public_id)
    if life.is_live and request.GET.get("seen") == str(life.last):
        return HttpResponse(status=204)
    return render(request, "sandboxes/_usage.html", {"usage": life, "is_news": True})
