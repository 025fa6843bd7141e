"""Counting of lines in a service's log, continued from the end of the last count."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

MAX_LINE_LENGTH = 4000
"""Bytes of a line that are compared with the pattern."""


@dataclass(frozen=True)
class LineCount:
    """The number of matching lines in a service's log, and the position up to which it was read."""

    service: str
    pattern: str
    """A regular expression that is matched at the beginning of each line."""
    lines: int = 0
    read_to: str = ""
    """A position in the log, in the runtime's own format; empty for its beginning."""

    def further(self, lines: Iterable[bytes], read_to: str) -> LineCount:
        """Return the count including `lines`, which follow `self.read_to` and end at `read_to`."""
        matches = matcher(self.pattern)
        found = sum(1 for line in lines if matches(line[:MAX_LINE_LENGTH]))
        return replace(self, lines=self.lines + found, read_to=read_to)


WITHOUT_CHOICE = re.compile(r"\\.|\(\?", re.DOTALL)
"""Escaped characters, and the beginning of groups such as `(?!`."""
MAX_CHOICES = 8
"""Of `?` and `|`: each may double the ways to match."""


def is_fast(pattern: str) -> bool:
    """Return whether comparing a line takes time linear in its length.

    That is so for everything that Rust's regular expressions know, and with look-around for a
    pattern that repeats at most one character or class, and makes few choices.
    """
    if _linear(pattern) is not None:
        return True
    rest = WITHOUT_CHOICE.sub("", pattern)
    repetitions = sum(map(rest.count, "*+{"))
    repeats_group = any(f"){sign}" in rest for sign in "*+{")
    return repetitions <= 1 and not repeats_group and sum(map(rest.count, "?|")) <= MAX_CHOICES


@lru_cache(maxsize=200)
def matcher(pattern: str) -> Callable[[bytes], bool]:
    """Return a function that tells whether a line begins with a match."""
    if linear := _linear(pattern):
        is_match = linear.isinstance_python
        return lambda line: is_match(line.removesuffix(b"\n").decode(errors="replace"))
    match = re.compile(pattern.encode()).match
    return lambda line: match(line) is not None


def _linear(pattern: str) -> SchemaValidator | None:
    """Return a validator that never backtracks, or None if the pattern needs look-around."""
    anchored = rf"\A(?:{pattern})"
    try:
        return SchemaValidator(core_schema.str_schema(pattern=anchored, regex_engine="rust-regex"))
    except SchemaError:
        return None
