"""Counting of lines in a service's log, continued from the end of the last count."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

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
        matches = re.compile(self.pattern.encode()).match
        found = sum(1 for line in lines if matches(line[:MAX_LINE_LENGTH]))
        return replace(self, lines=self.lines + found, read_to=read_to)
