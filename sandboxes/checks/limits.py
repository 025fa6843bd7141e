"""Validation of the settings that limit sandboxes, alone and in combination."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandboxes.models.pool import MAX_AGE_LIMIT_MINUTES

SUBNET_PREFIX = 28

Problem = tuple[bool, str, str]
"""Whether the problem exists, its message, and its hint."""

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
    "SANDBOX_MEMORY_MAX_MB": 0,
    "SANDBOX_CPUS_MAX": 0,
    "SANDBOX_DISK_MAX_MB": 0,
    "SANDBOX_ENGINE_TIMEOUT_SECONDS": 1,
    "SANDBOX_ENGINE_AWAY_MINUTES": 1,
    "SANDBOX_SWEEP_MAX_EXPIRATIONS": 0,
    "SANDBOX_ORPHAN_GRACE_SECONDS": 0,
    "SANDBOX_RETENTION_DAYS": 1,
    "SANDBOX_SAVE_POINTS_PER_USER": 0,
    "SANDBOX_SAVE_POINTS_MB": 0,
    "SANDBOX_SAVE_POINT_DAYS": 1,
    "WEB_THREADS": 6,
    "WORKER_THREADS": 2,
}

ORDERED_PAIRS = [
    ("SANDBOX_TTL_MIN_MINUTES", "SANDBOX_TTL_MINUTES"),
    ("SANDBOX_TTL_MINUTES", "SANDBOX_TTL_MAX_MINUTES"),
    ("SANDBOX_TTL_MAX_MINUTES", "SANDBOX_HARD_CAP_MINUTES"),
    ("SANDBOX_WARNING_MINUTES", "SANDBOX_IDLE_MINUTES"),
    ("SANDBOX_WARNING_MINUTES", "SANDBOX_TTL_MIN_MINUTES"),
    ("SANDBOX_ENGINE_TIMEOUT_SECONDS", "SANDBOX_PROVISION_TIMEOUT_SECONDS"),
]
"""Pairs of settings whose first value must not exceed the second."""

MAXIMA = [
    ("SANDBOX_MEMORY_MB", "SANDBOX_MEMORY_MAX_MB"),
    ("SANDBOX_CPUS", "SANDBOX_CPUS_MAX"),
    ("SANDBOX_DISK_MB", "SANDBOX_DISK_MAX_MB"),
]
"""Settings with a default, and those with the maximum that a blueprint may ask for (0: none)."""


def limit_problems(values: Any) -> Iterator[Problem]:
    """Yield the possible problems of settings, given as attributes of `values`."""
    yield from _out_of_range(values)
    yield from _contradictions(values)


def _out_of_range(values: Any) -> Iterator[Problem]:
    for name, minimum in MINIMUMS.items():
        value = getattr(values, name)
        yield value < minimum, f"{name} is {value}.", f"Set it to {minimum} or more."


def _contradictions(values: Any) -> Iterator[Problem]:
    for smaller, larger in ORDERED_PAIRS:
        low, high = getattr(values, smaller), getattr(values, larger)
        yield (
            low > high,
            f"{smaller} ({low}) is greater than {larger} ({high}).",
            f"Lower {smaller}, or raise {larger}.",
        )
    capacity = 1 << max(0, SUBNET_PREFIX - values.SANDBOX_SUBNETS.prefixlen)
    most = values.SANDBOX_MAX_SITE
    age = values.SANDBOX_POOL_MAX_AGE_MINUTES
    for default, maximum in MAXIMA:
        least, highest = getattr(values, default), getattr(values, maximum)
        yield (
            0 < highest < least,
            f"{maximum} ({highest:g}) is less than {default} ({least:g}).",
            f"Raise {maximum}, or unset it.",
        )
    yield (
        age > MAX_AGE_LIMIT_MINUTES,
        f"SANDBOX_POOL_MAX_AGE_MINUTES is {age}; dates in the seed data would be too old.",
        f"Set it to {MAX_AGE_LIMIT_MINUTES} or less.",
    )
    yield (
        most > capacity,
        f"SANDBOX_MAX_SITE is {most}, but SANDBOX_SUBNETS has room for {capacity}.",
        "Lower SANDBOX_MAX_SITE, or give SANDBOX_SUBNETS a larger range.",
    )
