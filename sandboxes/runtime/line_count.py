"""Counting lines of a service's log, from where the last count ended."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class LineCount:
    """How many lines of a service's log matched so far, and up to where it was read."""

    service: str
    pattern: str
    """A regular expression: a line is counted when its beginning matches."""
    lines: int = 0
    read_to: str = ""
    """A place in the log, in the runtime's own terms; empty: its beginning."""

    def further(self, lines: Iterable[bytes], read_to: str) -> LineCount:
        """With what the log has after `self.read_to`, which ends at `read_to`."""
        matches = re.compile(self.pattern.encode()).match
        return replace(
            self, lines=self.lines + sum(map(bool, map(matches, lines))), read_to=read_to
        )
