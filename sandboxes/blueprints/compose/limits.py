"""Share out the memory and CPUs of a sandbox among its services."""

from __future__ import annotations

import math
from collections.abc import Mapping

MIN_MEMORY_MB = 16
"""With less, hardly a process starts."""


def share(
    fixed: Mapping[str, float], at_most: Mapping[str, float | None], total: float
) -> dict[str, float]:
    """Return each service's limit: a fixed one, or a share of what these leave.

    What is left is divided equally among the services in `at_most`, but none gets more than its
    value there, and the others get what it doesn't need. Raises ValueError if the fixed limits
    exceed the total.
    """
    remaining = total - sum(fixed.values())
    if remaining < -1e-9:  # noqa: PLR2004 - sums of decimal fractions are not exact
        raise ValueError(sum(fixed.values()))
    shares = dict(fixed)
    wanted = {name: math.inf if limit is None else limit for name, limit in at_most.items()}
    smallest_first = sorted(wanted, key=wanted.__getitem__)
    for index, name in enumerate(smallest_first):
        shares[name] = min(wanted[name], remaining / (len(smallest_first) - index))
        remaining -= shares[name]
    return shares
