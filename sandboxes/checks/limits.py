"""What may be wrong with the numbers that limit sandboxes, one by one and together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandboxes.models.pool import MAX_AGE_LIMIT_MINUTES

SUBNET_PREFIX = 28

Problem = tuple[bool, str, str]
"""Whether it is there, what it is, and what to do about it."""

MINIMUMS = {
    "SANDBOX_TTL_MIN_MINUTES": 1,
    "SANDBOX_EXTENSION_MAX_MINUTES": 1,
    "SANDBOX_IDLE_MINUTES": 1,
    "SANDBOX_WARNING_MINUTES": 0,
    "SANDBOX_MAX_PER_USER": 1,
    "SANDBOX_LAUNCHES_PER_HOUR": 0,
    "SANDBOX_MAX_SITE": 0,
    "SANDBOX_MEMORY_OVERCOMMIT": 0.1,
    "SANDBOX_MAX_CONCURRENT_LAUNCHES": 1,
    "SANDBOX_POOL_SIZE": 0,
    "SANDBOX_POOL_MAX_AGE_MINUTES": 1,
    "SANDBOX_MEMORY_MB": 16,
    "SANDBOX_MIN_FREE_MEMORY_MB": 0,
    "SANDBOX_CPUS": 0.01,
    "SANDBOX_DISK_MB": 16,
    "SANDBOX_ENGINE_TIMEOUT_SECONDS": 1,
    "SANDBOX_SWEEP_MAX_EXPIRATIONS": 0,
    "SANDBOX_ORPHAN_GRACE_SECONDS": 0,
    "SANDBOX_RETENTION_DAYS": 1,
}

ORDERED_PAIRS = [
    ("SANDBOX_TTL_MIN_MINUTES", "SANDBOX_TTL_MINUTES"),
    ("SANDBOX_TTL_MINUTES", "SANDBOX_TTL_MAX_MINUTES"),
    ("SANDBOX_TTL_MAX_MINUTES", "SANDBOX_HARD_CAP_MINUTES"),
    ("SANDBOX_WARNING_MINUTES", "SANDBOX_IDLE_MINUTES"),
    ("SANDBOX_WARNING_MINUTES", "SANDBOX_TTL_MIN_MINUTES"),
    ("SANDBOX_ENGINE_TIMEOUT_SECONDS", "SANDBOX_PROVISION_TIMEOUT_SECONDS"),
]
"""Pairs of which the first may not be larger than the second."""


def limit_problems(values: Any) -> Iterator[Problem]:
    """What may be wrong with settings, given as attributes of `values`."""
    yield from _out_of_range(values)
    yield from _contradictions(values)


def _out_of_range(values: Any) -> Iterator[Problem]:
    for name, least in MINIMUMS.items():
        value = getattr(values, name)
        yield value < least, f"{name} is {value}.", f"Set it to {least} or more."


def _contradictions(values: Any) -> Iterator[Problem]:
    for smaller, larger in ORDERED_PAIRS:
        low, high = getattr(values, smaller), getattr(values, larger)
        yield (
            low > high,
            f"{smaller} is {low}, which is more than {larger}, {high}.",
            f"Lower {smaller}, or raise {larger}.",
        )
    room = 1 << max(0, SUBNET_PREFIX - values.SANDBOX_SUBNETS.prefixlen)
    most = values.SANDBOX_MAX_SITE
    age = values.SANDBOX_POOL_MAX_AGE_MINUTES
    yield (
        age > MAX_AGE_LIMIT_MINUTES,
        f"SANDBOX_POOL_MAX_AGE_MINUTES is {age}: the dates in the seed would be too old.",
        f"Set it to {MAX_AGE_LIMIT_MINUTES} or less.",
    )
    yield (
        most > room,
        f"SANDBOX_MAX_SITE is {most}, but SANDBOX_SUBNETS has room for {room}.",
        "Lower SANDBOX_MAX_SITE, or give SANDBOX_SUBNETS a larger range.",
    )
