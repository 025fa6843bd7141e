"""`docs/performance.md`, written from the results of one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tests.bench import plots
from tests.bench.results import Results
from tests.bench.sections import PLOT_SECTIONS, SECTIONS, table
from tests.bench.targets import TARGETS

INTRODUCTION = """\
`make bench` measured everything on this page in one run and generated the page, its plots and
[results.json](performance/results.json), which contains every single figure. Times are those of an
HTTP client unless noted otherwise. p50 is the median, p95 the 95th percentile, and n the number of
measurements.
"""
REPRODUCING = """\
    make bench            # everything, in about twelve minutes; writes this page
    make bench ARGS='--only dashboards'    # 1,000 open dashboards; prints the result only
    make bench ARGS='--only density'       # 100 sandboxes, and sweeps; prints the result only
    make bench ARGS='--only pages'         # the same for pages, and for memory
    make bench QUICK=1    # few repetitions, in two minutes; writes to var/bench

The benchmarks need 9 GiB of free memory (4 with `QUICK=1`), and either root on Debian or Ubuntu or
an installed Docker Engine with Compose. They start portals of their own on free ports and remove
everything they created, also after Ctrl-C. Other load on the machine affects the figures.
`.venv/bin/python -m tests.bench --render` generates this page again from results.json.
"""


def write(results: Results, page: Path) -> None:
    """Write the page, and its plots into the directory with the same name."""
    folder = page.with_suffix("")
    drawn = plots.save(results, folder)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(_lines(results, [f"{folder.name}/{name}.svg" for name in drawn])))


def _lines(results: Results, drawn: Sequence[str]) -> Iterator[str]:
    yield "# Performance\n"
    yield INTRODUCTION
    if results["quick"]:
        yield "**This was a quick run with few repetitions; don't rely on its figures.**\n"
    yield from table(["Machine", ""], results["machine"].items())
    yield "## Targets\n"
    head = ["Metric", "Target", "Measured", "Result", "Blocker"]
    yield from table(head, target_rows(results))
    for name, message in results.get("failed", {}).items():
        yield f"The measurement of {name} failed: {message}\n"
    for title, section in SECTIONS.items():
        try:
            lines = list(section(results))
        except KeyError:
            lines = ["Not measured in this run.\n"]
        yield f"## {title}\n"
        yield from lines
        yield from (
            f"![{title}]({path})\n" for path in drawn if PLOT_SECTIONS[Path(path).stem] == title
        )
    yield "## Reproducing\n"
    yield REPRODUCING


def only_lines(results: Results) -> Iterator[str]:
    """Yield the targets that were measured and the tables with their figures, for the terminal."""
    yield from (line for line in summary_lines(results) if not line.startswith("·"))
    for section in SECTIONS.values():
        with suppress(KeyError):
            yield from list(section(results))


def target_rows(results: Results) -> Iterator[list[str]]:
    for target in TARGETS:
        result = target.result(results)
        blocker = "" if result.met else result.blocker
        yield [target.metric, target.target, result.measured, result.word, blocker]


def summary_lines(results: Results) -> Iterator[str]:
    """Yield a line for each target, for the terminal."""
    for target in TARGETS:
        result = target.result(results)
        mark = {True: "✓", False: "✗", None: "·"}[result.met]
        yield f"{mark} {target.metric}: {result.measured} (target: {target.target})"
