"""What a sandbox consumed, as small plots and as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from sandboxes.models import Sandbox, State
from sandboxes.usage import Moment, moments, peak_of
from sandboxes.views.base import Request, own_sandbox, page

WIDTH, HEIGHT = 240, 56
"""Of a plot, in its own units."""
MOST_POINTS, MOST_ROWS = 120, 20
HEADROOM = 1.25
LOWEST_TOP = 0.1
"""Of the limit: less than that is next to nothing, and looks like it."""


@dataclass(frozen=True)
class Plot:
    """One line over the sandbox's life; `limit` None where there is none."""

    name: str
    title: str | Promise
    unit: str | Promise
    digits: int
    limit: float | None
    points: Sequence[tuple[datetime, float]]
    most: float | None

    @property
    def now(self) -> float | None:
        return self.points[-1][1] if self.points else None

    @property
    def top(self) -> float:
        """The value at the upper edge."""
        highest = HEADROOM * max((value for _, value in self.points), default=0)
        if self.limit is None:
            return highest or 1.0
        return min(max(highest, LOWEST_TOP * self.limit), max(self.limit, highest / HEADROOM))

    @cached_property
    def line(self) -> str:
        """The points of an SVG polyline."""
        if not self.points:
            return ""
        began, ended = self.points[0][0], self.points[-1][0]
        whole = (ended - began).total_seconds() or 1.0
        across = ((at - began).total_seconds() / whole * WIDTH for at, _ in self.points)
        down = (HEIGHT - (HEIGHT - 2) * value / self.top for _, value in self.points)
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))

    @property
    def area(self) -> str:
        return f"0,{HEIGHT} {self.line} {WIDTH},{HEIGHT}" if self.line else ""


@dataclass(frozen=True)
class Life:
    """All that was measured of one sandbox."""

    sandbox: Sandbox
    moments: Sequence[Moment]
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
        return self.sandbox.peak or (peak_of(self.moments) if self.moments else {})

    @cached_property
    def plots(self) -> list[Plot]:
        row, most = self.sandbox, self.peak
        traffic = [m.traffic_kb for m in self.moments if m.traffic_kb is not None]
        return [
            self._plot("memory", _("Memory"), "MB", 0, row.memory_mb, most.get("memory_mb")),
            self._plot("cpu", _("CPU"), _("cores"), 2, row.cpus, most.get("cpus")),
            self._plot("disk", _("Disk"), "MB", 0, row.disk_mb, most.get("disk_mb")),
            self._plot("traffic", _("Traffic"), _("KB/min"), 1, None, max(traffic, default=None)),
        ]

    def _plot(
        self,
        name: str,
        title: str | Promise,
        unit: str | Promise,
        digits: int,
        limit: float | None,
        most: float | None,
    ) -> Plot:
        points = thinned(self.moments, READ[name], MOST_POINTS)
        return Plot(name, title, unit, digits, limit, points, most)

    @property
    def rows(self) -> list[tuple[datetime, list[float | None]]]:
        """Some of the moments as numbers, the newest first."""
        every = -(-len(self.moments) // MOST_ROWS) or 1
        chosen = list(self.moments)[::-1][::every]
        return [(moment.at, [read(moment) for read in READ.values()]) for moment in chosen]


READ: dict[str, Callable[[Moment], float | None]] = {
    "memory": lambda moment: moment.memory_mb,
    "cpu": lambda moment: moment.cpus,
    "disk": lambda moment: moment.disk_mb,
    "traffic": lambda moment: moment.traffic_kb,
}


def thinned(
    life: Sequence[Moment], read: Callable[[Moment], float | None], most: int
) -> list[tuple[datetime, float]]:
    """At most so many points; of several moments in one, the highest, so that no peak is lost."""
    known = [(moment.at, value) for moment in life if (value := read(moment)) is not None]
    every = -(-len(known) // most) or 1
    parts = (known[start : start + every] for start in range(0, len(known), every))
    return [max(part, key=lambda point: point[1]) for part in parts]


def usage_of(sandbox: Sandbox) -> Life:
    rows = list(sandbox.samples.order_by("pk"))
    return Life(sandbox, moments(rows), rows[-1].pk if rows else 0)


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
