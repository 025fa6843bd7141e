"""Settings and counters of the tests that `make fuzz` runs with more examples than usual."""

from __future__ import annotations

from collections import Counter
from math import ceil

from hypothesis import settings

CALLS = 0
"""Number of generated API calls; 0 for those of the Hypothesis profile."""
LIFECYCLES = 0
"""Number of random sandbox lifecycles; 0 for those of the Hypothesis profile."""
PROXY_REQUESTS = 0
"""Number of generated requests to the socket proxy; 0 for the few of the test suite."""

counts = Counter[str]()
"""Calls, responses by status, lifecycles and their steps, and requests of the access matrix."""


def examples_per_operation(operations: int) -> int:
    """Return the number of random examples for each of the API's operations.

    Schemathesis adds the limits of each parameter, which are most of the calls in the test suite.
    """
    return ceil(CALLS / operations) if CALLS else ceil(settings.default.max_examples / 2)
