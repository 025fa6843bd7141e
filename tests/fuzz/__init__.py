"""Tests that may run for long: what they were told to do, and what they counted."""

from __future__ import annotations

from collections import Counter
from math import ceil

CALLS = 0
"""So many generated calls of the API; 0: a few, always the same. `make fuzz` orders more."""
LIVES = 0
"""So many random lives of sandboxes; likewise."""

counted = Counter[str]()
"""Calls, answers by status, lives, their steps, questions to the access matrix."""


def share(operations: int) -> int:
    """Examples for each of the API's operations."""
    return ceil(CALLS / operations) if CALLS else 10
