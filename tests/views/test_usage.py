"""Resource usage as plots and as a table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sandboxes.models import Sandbox, UsageSample
from sandboxes.usage.series import UsagePoint, counter_total
from sandboxes.views.usage import (
    HEIGHT,
    MAX_POINTS,
    MAX_ROWS,
    METRICS,
    WIDTH,
    Sparkline,
    downsample,
    get_usage,
)
from tests.helpers.api_client import ApiClient
from tests.helpers.scenarios import launch, reload
from tests.helpers.web import HTMX, text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime"), pytest.mark.store]

BEGAN = timezone.now() - timedelta(hours=4)
PLOT_LINE = 'class="plot-line"'


def measure(sandbox: Sandbox, *samples: dict[str, Any]) -> None:
    """Record samples a minute apart."""
    plain = {"memory_mb": 100, "cpu_seconds": 0, "received_bytes": 0, "sent_bytes": 0}
    UsageSample.objects.bulk_create(
        UsageSample(sandbox=sandbox, at=BEGAN + timedelta(minutes=n), **plain | sample)
        for n, sample in enumerate(samples)
    )


def plot(*values: float, limit: float | None = None) -> Sparkline:
    points = [(n / max(len(values) - 1, 1), value) for n, value in enumerate(values)]
    return Sparkline(METRICS[0], limit, points, max(values, default=None))


def corners(line: str) -> list[tuple[float, float]]:
    return [tuple(map(float, corner.split(","))) for corner in line.split()]  # type: ignore[misc]


def test_the_page_shows_current_and_peak_usage(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    measure(
        sandbox,
        {"memory_mb": 90, "requests": 0},
        {"memory_mb": 140, "cpu_seconds": 30, "disk_mb": 12, "requests": 1200},
        {"memory_mb": 120, "cpu_seconds": 36, "disk_mb": 12, "requests": 1208},
    )
    page = web.get(reverse("sandbox", args=[sandbox.public_id]))
    for phrase in (
        "Memory 120 MB peak 140 of 512",
        "CPU 0.10 cores peak 0.50 of 1",
        "Disk 12 MB peak 12 of 2,048",
        "Requests 8 per min peak 1,200; 1,208 total",
    ):
        assert phrase in text(page)
    assert page.content.decode().count(PLOT_LINE) == 4


def test_traffic_is_shown_if_requests_are_not_counted(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    Sandbox.objects.update(blueprint="of-a-plain-log")
    measure(sandbox, {}, {"sent_bytes": 60_000}, {"sent_bytes": 60_000})
    page = web.get(reverse("sandbox", args=[sandbox.public_id]))
    assert "Traffic 0.0 KB/min peak 60.0" in text(page)
    assert "Requests weren't counted" in text(page)
    assert "per min" not in text(page)
    assert page.content.decode().count(PLOT_LINE) == 3, "the disk was not measured"


def test_requests_are_shown_before_the_first_count(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    measure(sandbox, {"requests": None})
    page = text(web.get(reverse("sandbox", args=[sandbox.public_id])))
    assert "Requests \N{EN DASH} per min" in page
    assert "were not counted" not in page


def test_the_first_sample_has_the_request_rate_since_the_start(alice: User) -> None:
    sandbox = launch(alice)
    Sandbox.objects.update(started_at=BEGAN - timedelta(minutes=2))
    measure(sandbox, {"requests": 6}, {"requests": 6}, {"requests": None}, {"requests": 9})
    rates = [moment.requests_per_minute for moment in get_usage(reload(sandbox)).points]
    assert rates == [3, 0, None, None]


def test_an_early_first_sample_does_not_inflate_the_rate(alice: User) -> None:
    sandbox = launch(alice)
    Sandbox.objects.update(started_at=BEGAN - timedelta(milliseconds=2))
    measure(sandbox, {"requests": 6})
    assert get_usage(reload(sandbox)).peak["requests_per_minute"] == 6.0


def test_usage_is_also_shown_as_a_table(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    measure(sandbox, {"requests": 0}, {"memory_mb": 123.456, "cpu_seconds": 6, "requests": 3})
    page = text(web.get(reverse("sandbox", args=[sandbox.public_id])))
    assert "UTC 123.46 0.10 \N{EN DASH} 3.00 0.00" in page
    assert "Traffic is everything sent over the sandbox's own ports" in page


def test_plots_have_placeholders_before_the_first_sweep(web: Client, alice: User) -> None:
    page = web.get(reverse("sandbox", args=[launch(alice).public_id]))
    assert "First reading within a minute" in text(page)
    assert page.content.decode().count("<svg viewBox") == 4


def test_polls_return_plots_after_a_new_sample(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    measure(sandbox, {})
    address = reverse("usage", args=[sandbox.public_id])
    seen = {"etag": str(get_usage(sandbox).last_sample_id)}
    assert web.get(address, seen, headers=HTMX).status_code == 204
    measure(sandbox, {})
    assert "every 60s" in web.get(address, seen, headers=HTMX).content.decode()
    Sandbox.objects.update(state="destroyed", ended_at=timezone.now(), end_reason="user", slot=None)
    over = web.get(address, seen, headers=HTMX).content.decode()
    assert "Memory" in over
    assert "hx-trigger" not in over


def test_the_url_of_the_plots_redirects_to_the_page(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    answer = web.get(reverse("usage", args=[sandbox.public_id]))
    assert answer["Location"] == reverse("sandbox", args=[sandbox.public_id])


@pytest.mark.parametrize("values", [[5.0], [0, 0, 0], [1, 512, 3], [600, 1], [0.001] * 9])
@pytest.mark.parametrize("limit", [None, 512])
def test_a_line_stays_in_its_plot(values: list[float], limit: float | None) -> None:
    drawn = plot(*values, limit=limit)
    for x, y in corners(drawn.line):
        assert 0 <= x <= WIDTH
        assert 0 < y <= HEIGHT
    assert len(corners(drawn.line)) == len(values)


def test_a_single_sample_is_a_horizontal_line(alice: User) -> None:
    sandbox = launch(alice)
    measure(sandbox, {"memory_mb": 90})
    memory, cpu, *_ = get_usage(sandbox).sparklines
    (left, level), (right, same) = corners(memory.line)
    assert (left, right, level) == (0, WIDTH, same)
    assert memory.area == f"0,{HEIGHT} {memory.line} {WIDTH:.1f},{HEIGHT}"
    assert cpu.line == "", "how busy it is, two measurements tell"


def test_late_metrics_share_the_time_axis(
    alice: User,
) -> None:
    sandbox = launch(alice)
    measure(sandbox, {"requests": 0}, {"cpu_seconds": 6, "requests": 1}, {"cpu_seconds": 24})
    _, cpu, _, requests = get_usage(sandbox).sparklines
    assert [x for x, _ in corners(cpu.line)] == [0, WIDTH / 2, WIDTH]
    assert [x for x, _ in corners(requests.line)] == [0, WIDTH / 2], "the rest is not counted yet"
    assert requests.area.endswith(f" {WIDTH / 2:.1f},{HEIGHT}")


def test_low_values_look_low() -> None:
    low = [HEIGHT - y for _, y in corners(plot(1, 2, 1, limit=512).line)]
    assert max(low) < HEIGHT / 10


def test_an_empty_plot_has_no_line() -> None:
    assert (plot().line, plot().area, plot().now) == ("", "", None)


def moment(at: datetime, memory_mb: float) -> UsagePoint:
    return UsagePoint(at, memory_mb, None, None, 0, 0, None, None, None)


def test_downsampling_keeps_peaks() -> None:
    life = [moment(BEGAN + timedelta(seconds=20 * n), float(n == 401)) for n in range(720)]
    points = downsample(life, lambda one: one.memory_mb, MAX_POINTS)
    assert len(points) <= MAX_POINTS
    assert max(value for _, value in points) == 1.0
    assert points[-1][0] == life[-1].at, "the last point is the current value"
    assert points == sorted(points)


def test_the_table_has_a_limited_number_of_rows(alice: User) -> None:
    sandbox = launch(alice)
    measure(sandbox, *[{}] * 240)
    life = get_usage(sandbox)
    assert len(life.rows) <= MAX_ROWS
    assert life.rows[0][0] == life.points[-1].at, "the newest first"


@pytest.mark.parametrize(
    ("counts", "total"),
    [([], 0), ([5], 5), ([5, 8, 8], 8), ([5, 2, 4], 9), ([0, 7, 0, 1], 8)],
)
def test_a_restarted_counter_keeps_its_total(counts: list[int], total: int) -> None:
    assert counter_total(counts) == total


def test_the_api_returns_peaks_of_ended_sandboxes(alice: User) -> None:
    program = ApiClient(alice)
    sandbox = launch(alice)
    assert program.get(f"/sandboxes/{sandbox.public_id}").json()["peak"] is None
    measure(
        sandbox,
        {"memory_mb": 140, "disk_mb": 3, "requests": 0},
        {"cpu_seconds": 6, "sent_bytes": 10, "requests": 4},
    )
    program.delete(f"/sandboxes/{sandbox.public_id}")
    from sandboxes.worker.teardown import tear_down

    tear_down(Sandbox.objects.get())
    assert program.get(f"/sandboxes/{sandbox.public_id}").json()["peak"] == {
        "memory_mb": 140.0, "cpus": 0.1, "disk_mb": 3.0, "received_bytes": 0, "sent_bytes": 10,
        "requests": 4, "requests_per_minute": 4.0,
    }  # fmt: skip
