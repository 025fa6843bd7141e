"""Anchors of headings, which are those that GitHub generates."""

from __future__ import annotations

import re

UNUSED = re.compile(r"[^\w\- ]")


class Anchors:
    """The anchors of one page: a repeated heading gets a number."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, heading: str) -> str:
        """Return the anchor of the next heading."""
        anchor = UNUSED.sub("", heading.lower()).replace(" ", "-")
        count = self._counts.get(anchor, 0)
        self._counts[anchor] = count + 1
        return f"{anchor}-{count}" if count else anchor
