"""Counting lines of a log by a blueprint's expression."""

from __future__ import annotations

import time

import pytest

from sandboxes.runtime import LineCount

LINES = [b"GET /a\n", b'{"method": "GET", "agent": "portal"}\n', b'{"method": "PUT"}\n', b"\xff\n"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("GET|PUT", 1),
        (r"GET /\w$", 1),
        (r"\{", 2),
        (r'\{(?!.*"portal"\})', 1),
        ("ET", 0),
        ("", 4),
    ],
)
def test_lines_that_begin_with_a_match_are_counted(pattern: str, found: int) -> None:
    count = LineCount("web", pattern, lines=10).further(LINES, "end")
    assert (count.lines, count.read_to) == (10 + found, "end")


def test_an_expression_that_would_backtrack_takes_linear_time() -> None:
    started = time.process_time()
    count = LineCount("web", "(a+)+b").further([b"a" * 4000 + b"!"] * 100, "end")
    assert (count.lines, time.process_time() - started < 1) == (0, True)
