"""Share out the memory and CPUs of a sandbox among its services, and bound their other limits.

The socket proxy has the same bounds (`deploy/socket_proxy/bodies.py`): a service that passes here
is one that it lets through.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

MIN_MEMORY_MB = 16
"""With less, hardly a process starts."""
MAX_PIDS = 1024
MAX_OPEN_FILES = 65_536
NO_LIMIT = -1
HIGHEST = 1 << 40
"""Higher limits of what containers are limited in anyway count as none."""
ULIMITS = {
    "as": "",
    "core": "Core dumps are off.",
    "cpu": "",
    "data": "",
    "fsize": "The disk limit of the sandbox applies.",
    "locks": "",
    "memlock": "",
    "msgqueue": "It needs a privilege that no container has.",
    "nice": "It needs a privilege that no container has.",
    "nofile": "",
    "nproc": "",
    "rss": "",
    "rtprio": "It needs a privilege that no container has.",
    "rttime": "It needs a privilege that no container has.",
    "sigpending": "",
    "stack": "",
}
"""The limits that the kernel has, and why one has no effect here."""


def bounded_ulimit(name: str, soft: int, hard: int) -> tuple[int, int]:
    """Return soft and hard limit within the bounds; -1 stands for no limit."""
    most = MAX_OPEN_FILES if name == "nofile" else HIGHEST
    bounded = [min(math.inf if one == NO_LIMIT else one, most) for one in (soft, hard)]
    low, high = (NO_LIMIT if one == HIGHEST else int(one) for one in bounded)
    return low, high


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
