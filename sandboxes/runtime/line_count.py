"""Counting of lines in a service's log, continued from the end of the last count."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace


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
        return replace(
            self, lines=self.lines + sum(map(bool, map(matches, lines))), read_to=read_to
        )
