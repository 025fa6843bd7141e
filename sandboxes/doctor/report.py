"""Reports of findings: for a terminal, or as JSON."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.color import Style

from sandboxes.doctor.findings import Finding, Level
from sandboxes.doctor.runner import Result, overall_level

WIDTH = 100
NAME_WIDTH = 16
"""Width of the column with the names of checks."""
SIGNS = {Level.OK: "✓", Level.WARNING: "!", Level.ERROR: "✗"}


def lines(result: Result, style: Style) -> Iterator[str]:
    """Yield the lines of a result: its name once, and the remedy below each finding."""
    name = result.check.name
    for finding in result.findings:
        yield from _lines(name, finding, style)
        name = ""


def _lines(name: str, finding: Finding, style: Style) -> Iterator[str]:
    paint = {
        Level.OK: style.SUCCESS,
        Level.WARNING: style.WARNING,
        Level.ERROR: style.ERROR,
    }[finding.level]
    first, *more = _wrapped(finding.message)
    yield f"{paint(SIGNS[finding.level])} {name:<{NAME_WIDTH}}{first}"
    indent = " " * (NAME_WIDTH + 2)
    yield from (indent + line for line in more)
    for number, line in enumerate(_wrapped(finding.remedy)):
        yield indent + ("  " if number else paint("→ ")) + line


def _wrapped(words: str) -> list[str]:
    # Don't break commands and names of settings, so that they can be copied.
    width = WIDTH - NAME_WIDTH - 4
    return textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False)


def summary(results: Sequence[Result]) -> str:
    counted = Counter(one.level for result in results for one in result.findings)
    errors, warnings = counted[Level.ERROR], counted[Level.WARNING]
    parts = (
        f"{errors or 'no'} error{'' if errors == 1 else 's'}",
        f"{warnings or 'no'} warning{'' if warnings == 1 else 's'}",
        f"{counted[Level.OK]} passed",
    )
    return ", ".join(parts).capitalize() + "."


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    return {
        "verdict": overall_level(results),
        "findings": [
            {
                "check": result.check.name,
                "level": finding.level,
                "words": finding.message,
                "remedy": finding.remedy,
            }
            for result in results
            for finding in result.findings
        ],
        "seconds": {result.check.name: round(result.seconds, 3) for result in results},
    }
