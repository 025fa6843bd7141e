"""The plots of a run, as SVG files of shapes and text only."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median
from typing import Any

import pygal
from pygal.style import CleanStyle

from tests.bench.results import Results, percentile

STYLE = CleanStyle(
    background="#ffffff",
    plot_background="#ffffff",
    font_family="sans-serif",
    guide_stroke_color="#e4e4e4",
    major_guide_stroke_color="#d0d0d0",
    guide_stroke_dasharray="1,0",
    major_guide_stroke_dasharray="1,0",
    colors=("#2f6f9f", "#d98a2b", "#5b9e6f", "#8a5fa8"),
    title_font_size=16,
    label_font_size=12,
    legend_font_size=13,
    value_font_size=11,
)

THREE_LEGEND_COLUMNS = {"legend_at_bottom_columns": 3}


def save(results: Results, folder: Path) -> list[str]:
    """Draw all plots that the results have figures for; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, draw in PLOTS.items():
        try:
            chart = draw(results)
        except KeyError:
            continue
        chart.uuid = name
        (folder / f"{name}.svg").write_text(_reduced(chart.render(is_unicode=True)))
        drawn.append(name)
    return drawn


def _reduced(svg: str) -> str:
    """Keep only what is visible, at half the size.

    Without the library's scripts, the descriptions that they show, its comments, which contain the
    date, and fractions of a tenth of a pixel.
    """
    scripts = r"<script.*?</script>|<desc.*?</desc>|<!--.*?-->"
    visible = re.sub(scripts, "", svg, flags=re.DOTALL).replace(' class=""', "")
    styles, end, shapes = visible.partition("</defs>")
    return styles + end + re.sub(r"<[^>]+>", _rounded, shapes) + "\n"


def _rounded(tag: re.Match[str]) -> str:
    """Round the numbers of the tag's attributes, but none that is shown."""
    return re.sub(r"(?<=\d\.\d)\d+", "", tag[0])


def _options(title: str, height: int, **more: Any) -> dict[str, Any]:
    return {
        "title": title,
        "width": 860,
        "height": height,
        "style": STYLE,
        "js": (),
        "disable_xml_declaration": True,
        "legend_at_bottom": True,
        "print_values": True,
        "margin": 16,
        "truncate_label": -1,
    } | more


def _launches(results: Results) -> Any:
    """Seconds until a sandbox is ready, by method."""
    launches, warm = results["launches"], results.get("warm", {})
    methods = {
        "warm launch": warm.get("idle", {}).get("seconds"),
        "warm, pool being refilled": warm.get("refilling", {}).get("seconds"),
        "cold launch": launches["cold"]["seconds"],
        "baseline, full core": launches["baseline_full_core"]["seconds"],
        "baseline": launches["baseline"]["seconds"],
        "Compose": launches["compose"]["seconds"],
    }
    methods = {name: seconds for name, seconds in methods.items() if seconds}
    options = _options("Seconds until a sandbox is ready", 420, print_values_position="top")
    chart = pygal.HorizontalBar(**options, value_formatter=lambda s: f" {s:.2g} s")
    # In the middle of a very short bar, a label would overlap the names.
    chart.config.css = [*chart.config.css, "inline:.text-overlay text{text-anchor:start!important}"]
    # Bars are drawn from the bottom up.
    chart.x_labels = list(methods)[::-1]
    for percent in (50, 95):
        chart.add(f"p{percent}", [percentile(methods[name], percent) for name in chart.x_labels])
    return chart


def _rounds(results: Results) -> Any:
    """Cold launches and the baseline by round, which shows the machine's drift."""
    launches = results["launches"]
    options = _options(
        "Cold launches and baseline by round (seconds)",
        360,
        print_values=False,
        **THREE_LEGEND_COLUMNS,
    )
    names = {
        "cold": "cold launch",
        "baseline": "baseline",
        "baseline_full_core": "baseline, full core",
    }
    slowest = max(max(launches[name]["seconds"]) for name in names)
    chart = pygal.Line(**options, range=(0, 1.1 * slowest))
    chart.x_labels = [str(number + 1) for number in range(len(launches["cold"]["seconds"]))]
    for name, title in names.items():
        chart.add(title, launches[name]["seconds"])
    return chart


def _rates(results: Results) -> Any:
    """Return a chart of launches per minute by concurrency."""
    rates = results["rates"]
    options = _options("Cold launches per minute", 340, value_formatter=lambda n: f"{n:.0f}")
    chart = pygal.Bar(**options, show_legend=False)
    chart.x_labels = [f"{rate['concurrency']} in parallel" for rate in rates]
    chart.add("launches", [60 * len(rate["seconds"]) / rate["elapsed"] for rate in rates])
    return chart


def _pages(results: Results) -> Any:
    """Return a chart of each page's p95 at the client, with few and many ended sandboxes."""
    by_ended_count = results["pages"]["by_ended_count"]
    options = _options("Response times at the client, p95 (ms)", 420)
    chart = pygal.Bar(**options, value_formatter=lambda ms: f"{ms:.0f}", x_label_rotation=20)
    chart.x_labels = list(next(iter(by_ended_count.values())))
    for count, times in by_ended_count.items():
        p95 = [1000 * percentile(times[page]["client"], 95) for page in chart.x_labels]
        chart.add(f"{int(count):,} ended", p95)
    return chart


def _memory(results: Results) -> Any:
    """Memory of one sandbox, by its cgroups and by the machine's available memory."""
    density = results["density"]
    formatter = {"value_formatter": lambda mb: f"{mb:.0f}" if mb else ""}
    options = _options("Memory per sandbox (MB)", 340, **formatter, **THREE_LEGEND_COLUMNS)
    chart = pygal.StackedBar(**options)
    available = density["available_mb_per_sandbox"]
    chart.x_labels = ["cgroups", *(f"available memory, {count} live" for count in available)]
    for name, sizes in density["services"].items():
        chart.add(name, [median(sizes), *(None for _ in available)])
    chart.add("all", [None, *available.values()])
    return chart


PLOTS = {
    "launches": _launches,
    "rounds": _rounds,
    "rates": _rates,
    "pages": _pages,
    "memory": _memory,
}
