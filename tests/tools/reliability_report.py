"""`docs/reliability.md`: what the portal was put through, and what came of it.

The page has a place for each part, between two comments. What one command measured goes into its
place, and as it was found into a file of the part's name; everything else on the page is prose.
`python -m tests.tools.reliability_report` writes all places again from those files.
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


def ran_on() -> dict[str, str]:
    """When, with what code and on what machine this was measured."""
    facts = machine.facts()
    return {name: facts[name] for name in MACHINE}


@dataclass(frozen=True)
class Bar:
    """One thing that was asked for, and whether it held."""

    what: str
    asked: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Table:
    """Figures behind the bars."""

    title: str
    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Results:
    """What one run of one command found. `command` repeats it."""

    command: str
    bars: list[Bar]
    tables: list[Table] = field(default_factory=list)
    ran_on: dict[str, str] = field(default_factory=ran_on)


def publish(part: str, results: Results, page: Path = PAGE) -> None:
    """Keep the results and write them into their part of the page.

    Raises ValueError when the page has no place for the part.
    """
    text = filled(page.read_text(), part, results)
    file = file_of(part, page)
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(asdict(results), indent=1) + "\n")
    page.write_text(text)


def file_of(part: str, page: Path = PAGE) -> Path:
    return page.with_suffix("") / f"{part}.json"


def published(part: str, page: Path = PAGE) -> Results:
    """What was published of that part last. Raises OSError when nothing was."""
    found = json.loads(file_of(part, page).read_text())
    bars = [Bar(**bar) for bar in found["bars"]]
    tables = [Table(**one) for one in found["tables"]]
    return Results(found["command"], bars, tables, found["ran_on"])


def filled(text: str, part: str, results: Results) -> str:
    """The page's text with these results in the part's place. Raises ValueError without one."""
    begin, end = f"<!-- part: {part} -->\n", f"<!-- end: {part} -->\n"
    place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    lines = "\n".join(_lines(results))
    new, count = place.subn(lambda _: f"{begin}\n{lines}\n{end}", text)
    if count != 1:
        raise ValueError(f"The page needs {begin.strip()} and {end.strip()}, once each.")
    return new


def _lines(results: Results) -> Iterator[str]:
    facts = ", ".join(f"{name} {fact}" for name, fact in results.ran_on.items())
    yield f"Measured by `{results.command}`: {facts}.\n"
    rows = [[b.what, b.asked, b.measured, "✓" if b.met else "✗"] for b in results.bars]
    yield from table(["what", "asked for", "found", ""], rows)
    for one in results.tables:
        yield f"{one.title}:\n"
        yield from table(one.head, one.rows)


def main(page: Path = PAGE) -> None:
    for file in sorted(page.with_suffix("").glob("*.json")):
        publish(file.stem, published(file.stem, page), page)


if __name__ == "__main__":
    main()
