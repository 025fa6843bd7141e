"""The plots of a run, as SVG files with nothing in them but shapes and words."""

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

THREE = {"legend_at_bottom_columns": 3}


def save(results: Results, folder: Path) -> list[str]:
    """Draw what there are figures for; the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, draw in PLOTS.items():
        try:
            chart = draw(results)
        except KeyError:
            continue
        chart.uuid = name
        (folder / f"{name}.svg").write_text(_still(chart.render(is_unicode=True)))
        drawn.append(name)
    return drawn


def _still(svg: str) -> str:
    """Without the library's scripts, and without its comments, which have the day in them."""
    return re.sub(r"<script.*?</script>|<!--.*?-->", "", svg, flags=re.DOTALL) + "\n"


def _look(title: str, height: int, **more: Any) -> dict[str, Any]:
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
    """How long until a sandbox can be used, by each way to one."""
    launches, warm = results["launches"], results.get("warm", {})
    ways = {
        "warm launch": warm.get("quiet", {}).get("seconds"),
        "warm, pool filling": warm.get("busy", {}).get("seconds"),
        "cold launch": launches["cold"]["seconds"],
        "floor, with CPU lent": launches["floor_lent"]["seconds"],
        "floor": launches["floor"]["seconds"],
        "peer (compose up)": launches["peer"]["seconds"],
    }
    ways = {way: seconds for way, seconds in ways.items() if seconds}
    look = _look("Seconds until a sandbox answers", 420, print_values_position="top")
    chart = pygal.HorizontalBar(**look, value_formatter=lambda s: f" {s:.2g} s")
    # In the middle of a bar that is nearly nothing, a label would stand on the names.
    chart.config.css = [*chart.config.css, "inline:.text-overlay text{text-anchor:start!important}"]
    # Drawn from the bottom up.
    chart.x_labels = list(ways)[::-1]
    for percent in (50, 95):
        chart.add(f"p{percent}", [percentile(ways[way], percent) for way in chart.x_labels])
    return chart


def _turns(results: Results) -> Any:
    """Cold launches and the floor turn by turn, so that the machine's drift can be seen."""
    launches = results["launches"]
    look = _look("Cold launches and the floor by turns (seconds)", 360, print_values=False, **THREE)
    chart = pygal.Line(**look, range=(0, 1.1 * max(launches["cold"]["seconds"])))
    chart.x_labels = [str(turn + 1) for turn in range(len(launches["cold"]["seconds"]))]
    names = {"cold": "cold launch", "floor": "floor", "floor_lent": "floor with CPU lent"}
    for name, title in names.items():
        chart.add(title, launches[name]["seconds"])
    return chart


def _rates(results: Results) -> Any:
    """Launches a minute by how many are asked for at once."""
    rates = results["rates"]
    look = _look("Cold launches a minute", 340, value_formatter=lambda n: f"{n:.0f}")
    chart = pygal.Bar(**look, show_legend=False)
    chart.x_labels = [f"{rate['at_once']} at once" for rate in rates]
    chart.add("launches", [60 * len(rate["seconds"]) / rate["elapsed"] for rate in rates])
    return chart


def _pages(results: Results) -> Any:
    """Every page at the client, p95, with few and with many past sandboxes."""
    past = results["pages"]["past"]
    look = _look("Milliseconds of a page at the client, p95", 420)
    chart = pygal.Bar(**look, value_formatter=lambda ms: f"{ms:.0f}", x_label_rotation=20)
    chart.x_labels = list(next(iter(past.values())))
    for count, found in past.items():
        times = [1000 * percentile(found[page]["client"], 95) for page in chart.x_labels]
        chart.add(f"{int(count):,} past", times)
    return chart


def _memory(results: Results) -> Any:
    """Memory of one sandbox, as its control groups and as the whole machine tell it."""
    crowd = results["crowd"]
    written = {"value_formatter": lambda mb: f"{mb:.0f}" if mb else ""}
    look = _look("MB of memory for each sandbox", 340, **written, **THREE)
    chart = pygal.StackedBar(**look)
    lost = crowd["available_mb_each"]
    chart.x_labels = ["control groups", *(f"less available, {count} live" for count in lost)]
    for name, sizes in crowd["services"].items():
        chart.add(name, [median(sizes), *(None for _ in lost)])
    chart.add("all", [None, *lost.values()])
    return chart


PLOTS = {
    "launches": _launches,
    "turns": _turns,
    "rates": _rates,
    "pages": _pages,
    "memory": _memory,
}
