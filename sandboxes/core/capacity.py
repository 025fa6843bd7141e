"""How many sandboxes the whole portal can run, and how many the warm pool may hold."""

from __future__ import annotations

import os

from sandboxes.models import EngineStatus, Sandbox
from sandboxes.models.runtime_settings import config
from sandboxes.runtime.host_resources import available_memory

SUBNET_ADDRESSES = 16
"""Addresses in the subnet of one sandbox."""
RESERVED_MEMORY_MB = 1024
"""Memory left for the portal, the engine and the system if the portal-wide limit is derived."""


def site_limit(engine: EngineStatus) -> int:
    """Return how many sandboxes this portal may run: as configured, or what the engine allows.

    Until a sweep has recorded the engine's memory, the memory of this machine counts.
    """
    if config.SANDBOX_MAX_SITE:
        return int(config.SANDBOX_MAX_SITE)
    memory_mb = engine.memory_mb or _memory_of_this_machine()
    usable_mb = (memory_mb - RESERVED_MEMORY_MB) * config.SANDBOX_MEMORY_OVERCOMMIT
    by_memory = usable_mb // config.SANDBOX_MEMORY_MB
    by_subnets = config.SANDBOX_SUBNETS.num_addresses // SUBNET_ADDRESSES
    return int(max(1, min(by_memory, by_subnets)))


def _memory_of_this_machine() -> int:
    """Return the total memory in MB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def engine_shortage(engine: EngineStatus) -> str:
    """Return the resource that the engine's host lacks for another sandbox; empty if none.

    The figures are those of the last sweep, so launches since then may exceed them by a little.
    The limits of each sandbox still hold.
    """
    disk, memory = engine.disk_free_mb, engine.memory_available_mb
    if disk is not None and disk < config.SANDBOX_DISK_MB:
        return "The disk that holds the sandboxes is nearly full."
    if memory is not None and memory < config.SANDBOX_MIN_FREE_MEMORY_MB:
        return "The machine that runs the sandboxes is low on memory."
    return ""


def pool_headroom(engine: EngineStatus) -> int:
    """Return how many sandboxes the warm pool may hold without displacing requested ones."""
    available = available_memory()
    if engine_shortage(engine) or (available is not None and available < RESERVED_MEMORY_MB):
        return 0
    return max(0, site_limit(engine) - Sandbox.objects.live().requested().count())
