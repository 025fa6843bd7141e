"""The findings written down: for a person at a terminal, or as JSON for a program."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.color import Style

from sandboxes.doctor.findings import Finding, Level
from sandboxes.doctor.runner import Result, worst

WIDTH = 100
NAMES = 16
"""Columns that names of checks take."""
SIGNS = {Level.FINE: "✓", Level.WARNING: "!", Level.WRONG: "✗"}


def lines(result: Result, style: Style) -> Iterator[str]:
    """Its name before the first finding, and under each what to do about it."""
    name = result.check.name
    for finding in result.findings:
        yield from _lines(name, finding, style)
        name = ""


def _lines(name: str, finding: Finding, style: Style) -> Iterator[str]:
    paint = {
        Level.FINE: style.SUCCESS,
        Level.WARNING: style.WARNING,
        Level.WRONG: style.ERROR,
    }[finding.level]
    first, *more = _wrapped(finding.words)
    yield f"{paint(SIGNS[finding.level])} {name:<{NAMES}}{first}"
    indent = " " * (NAMES + 2)
    yield from (indent + line for line in more)
    for number, line in enumerate(_wrapped(finding.remedy)):
        yield indent + ("  " if number else paint("→ ")) + line


def _wrapped(words: str) -> list[str]:
    # Commands and names of settings stay whole, so that they can be copied.
    room = WIDTH - NAMES - 4
    return textwrap.wrap(words, room, break_long_words=False, break_on_hyphens=False)


def summary(results: Sequence[Result]) -> str:
    counted = Counter(one.level for result in results for one in result.findings)
    warnings = counted[Level.WARNING]
    parts = (
        f"{counted[Level.WRONG] or 'nothing'} wrong",
        f"{warnings or 'no'} warning{'' if warnings == 1 else 's'}",
        f"{counted[Level.FINE]} fine",
    )
    return ", ".join(parts).capitalize() + "."


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    return {
        "verdict": worst(results),
        "findings": [
            {
                "check": result.check.name,
                "level": finding.level,
                "words": finding.words,
                "remedy": finding.remedy,
            }
            for result in results
            for finding in result.findings
        ],
        "seconds": {result.check.name: round(result.seconds, 3) for result in results},
    }
