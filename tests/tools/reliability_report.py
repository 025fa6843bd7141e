"""`docs/reliability.md`: the results of fault injection, isolation tests, fuzzing and access tests.

The page has a generated part for each tool, between two comments; the rest is written by hand. A
tool writes its results into its part and into a JSON file with the part's name.
`python -m tests.tools.reliability_report` generates all parts again from these files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.bench import machine
from tests.bench.sections import table

PAGE = machine.ROOT / "docs" / "reliability.md"
MACHINE = ("date", "commit", "processor", "memory", "kernel", "engine", "storage driver")


def measured_on() -> dict[str, str]:
    """Return the date, the commit and the machine of this measurement."""
    facts = machine.facts()
    return {name: facts[name] for name in MACHINE}


@dataclass(frozen=True)
class TargetResult:
    """A target, what was measured, and whether that meets it."""

    name: str
    target: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Table:
    """Figures behind the targets."""

    title: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Report:
    """The results of one run of `command`, which reproduces them."""

    command: str
    targets: list[TargetResult]
    tables: list[Table] = field(default_factory=list)
    measured_on: dict[str, str] = field(default_factory=measured_on)


def publish(part: str, report: Report, page: Path = PAGE) -> None:
    """Store the report and write it into its part of the page.

    Raises ValueError if the page has no such part.
    """
    text = with_report(page.read_text(), part, report)
    file = file_of(part, page)
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(asdict(report), separators=(",", ":")) + "\n")
    page.write_text(text)


def file_of(part: str, page: Path = PAGE) -> Path:
    return page.with_suffix("") / f"{part}.json"


def load(part: str, page: Path = PAGE) -> Report:
    """Return the stored report of a part. Raises OSError if there is none."""
    stored = json.loads(file_of(part, page).read_text())
    targets = [TargetResult(**target) for target in stored["targets"]]
    tables = [Table(**table) for table in stored["tables"]]
    return Report(stored["command"], targets, tables, stored["measured_on"])


def with_report(text: str, part: str, report: Report) -> str:
    """Return the page's text with the part replaced. Raises ValueError if it has no such part."""
    begin, end = f"<!-- part: {part} -->\n", f"<!-- end: {part} -->\n"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    lines = "\n".join(_lines(report))
    new, count = pattern.subn(lambda _: f"{begin}\n{lines}\n{end}", text)
    if count != 1:
        raise ValueError(f"The page needs {begin.strip()} and {end.strip()}, once each.")
    return new


def _lines(report: Report) -> Iterator[str]:
    facts = ", ".join(f"{name} {fact}" for name, fact in report.measured_on.items())
    yield f"Measured with `{report.command}`: {facts}.\n"
    rows = [
        [result.name, result.target, result.measured, "pass" if result.met else "**fail**"]
        for result in report.targets
    ]
    yield from table(["Check", "Target", "Measured", "Result"], rows)
    for one in report.tables:
        yield f"{one.title}:\n"
        yield from table(one.columns, one.rows)


def summary_lines(report: Report) -> Iterator[str]:
    """Yield a line for each target, for the terminal."""
    for result in report.targets:
        mark = "✓" if result.met else "✗"
        yield f"{mark} {result.name}: {result.measured} (target: {result.target})"


def main(page: Path = PAGE) -> None:
    for file in sorted(page.with_suffix("").glob("*.json")):
        publish(file.stem, load(file.stem, page), page)


if __name__ == "__main__":
    main()
