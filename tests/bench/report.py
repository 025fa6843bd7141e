"""`docs/performance.md`, written from the results of one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench import plots
from tests.bench.results import Results
from tests.bench.sections import PLACES, SECTIONS, table
from tests.bench.targets import BARS

INTRODUCTION = """\
Everything here was measured by one command, `make bench`, side by side in one run; it wrote this
page, its plots and [results.json](performance/results.json) with every single figure. No line of it
was written by hand. Times are what a client sees over HTTP, unless it says otherwise; p95 is the
time within which 95 of 100 were done, n how many there were.
"""
AGAIN = """\
    make bench            # all of it, in about twelve minutes; writes this page
    make bench QUICK=1    # a look in two minutes, with few repetitions; writes to var/bench

It needs root on Debian or Ubuntu, or a Docker Engine and Compose that are there already, and 9 GiB
of free memory (4 with `QUICK=1`). It runs portals of its own on free ports and removes all it made,
after Ctrl-C too. What else the machine does meanwhile shows in the figures.
`.venv/bin/python -m tests.bench --render` writes the page again from results.json.
"""


def write(results: Results, page: Path) -> None:
    """Write the page, and its plots into the folder of its name."""
    folder = page.with_suffix("")
    drawn = plots.save(results, folder)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(_lines(results, [f"{folder.name}/{name}.svg" for name in drawn])))


def _lines(results: Results, drawn: Sequence[str]) -> Iterator[str]:
    yield "# Performance\n"
    yield INTRODUCTION
    if results["quick"]:
        yield "**This was a quick run, with few repetitions: a look, no measurement.**\n"
    yield from table(["machine", ""], results["machine"].items())
    yield "## The bars\n"
    yield from table(["what", "asked for", "measured", "", "in the way"], bars(results))
    for name, message in results.get("failed", {}).items():
        yield f"Measuring {name} failed: {message}\n"
    for title, section in SECTIONS.items():
        try:
            lines = list(section(results))
        except KeyError:
            lines = ["It was not measured in this run.\n"]
        yield f"## {title}\n"
        yield from lines
        yield from (f"![{title}]({path})\n" for path in drawn if PLACES[Path(path).stem] == title)
    yield "## To repeat it\n"
    yield AGAIN


def bars(results: Results) -> Iterator[list[str]]:
    for bar in BARS:
        verdict = bar.verdict(results)
        hindrance = "" if verdict.met else verdict.hindrance
        yield [bar.what, bar.asked, verdict.measured, verdict.word, hindrance]


def in_short(results: Results) -> Iterator[str]:
    """The bars, a line each, for the terminal."""
    for bar in BARS:
        verdict = bar.verdict(results)
        mark = {True: "✓", False: "✗", None: "·"}[verdict.met]
        yield f"{mark} {bar.what}: {verdict.measured} (asked: {bar.asked})"
