"""How many sandboxes the whole portal can run, and how many the warm pool may hold.

Each sandbox is promised its own memory, so a large one takes the room of several small ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf

from django.db.models import Count, Sum

from sandboxes.models import EngineStatus, Sandbox
from sandboxes.models.runtime_settings import config
from sandboxes.runtime.host_resources import available_memory

SUBNET_ADDRESSES = 16
"""Addresses in the subnet of one sandbox."""
RESERVED_MEMORY_MB = 1024
"""Memory left for the portal, the engine and the system if the portal-wide limit is derived."""


@dataclass(frozen=True)
class Room:
    """What further sandboxes may take; either may be below zero after a limit was lowered."""

    sandboxes: int
    memory_mb: float
    """Memory that isn't promised yet; infinite if the number of sandboxes is configured."""
    taken: int = 0
    """Number of sandboxes that are there; without any, the first may be as large as it is."""

    def for_sandboxes(self, memory_mb: int) -> int:
        """Return how many further sandboxes with this much memory there is room for."""
        by_memory = self.memory_mb // memory_mb if self.memory_mb < inf and memory_mb else inf
        return int(max(0 if self.taken else 1, min(self.sandboxes, by_memory), 0))

    def without(self, memory_mb: Iterable[int]) -> Room:
        """Return the room that further sandboxes with this much memory leave."""
        sizes = list(memory_mb)
        return Room(
            self.sandboxes - len(sizes), self.memory_mb - sum(sizes), self.taken + len(sizes)
        )

    def after(self, ended: Sandbox) -> Room:
        """Return the room after a sandbox has ended."""
        return replace(
            self,
            sandboxes=self.sandboxes + 1,
            memory_mb=self.memory_mb + ended.memory_mb,
            taken=self.taken - 1,
        )


NO_ROOM = Room(0, 0, taken=1)


def total_room(engine: EngineStatus) -> Room:
    """Return the room of a portal without sandboxes: as configured, or what the engine allows.

    Until a sweep has recorded the engine's memory, the memory of this machine counts.
    """
    if config.SANDBOX_MAX_SITE:
        return Room(int(config.SANDBOX_MAX_SITE), inf)
    memory_mb = engine.memory_mb or _memory_of_this_machine()
    usable_mb = (memory_mb - RESERVED_MEMORY_MB) * config.SANDBOX_MEMORY_OVERCOMMIT
    return Room(config.SANDBOX_SUBNETS.num_addresses // SUBNET_ADDRESSES, usable_mb)


def free_room(engine: EngineStatus) -> Room:
    """Return the room that requested sandboxes leave. The warm pool makes way for them."""
    requested = Sandbox.objects.live().requested()
    found = requested.aggregate(number=Count("pk"), memory_mb=Sum("memory_mb", default=0))
    total = total_room(engine)
    return Room(
        total.sandboxes - found["number"], total.memory_mb - found["memory_mb"], found["number"]
    )


def site_limit(engine: EngineStatus) -> int:
    """Return how many sandboxes with the default limits this portal may run."""
    return total_room(engine).for_sandboxes(config.SANDBOX_MEMORY_MB)


def _memory_of_this_machine() -> int:
    """Return the total memory in MB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def engine_shortage(engine: EngineStatus, disk_mb: int) -> str:
    """Return the resource that the engine's host lacks for a sandbox with this disk limit.

    Empty if it lacks none.

    The figures are those of the last sweep, so launches since then may exceed them by a little.
    The limits of each sandbox still hold.
    """
    disk, memory = engine.disk_free_mb, engine.memory_available_mb
    if disk is not None and disk < disk_mb:
        return "The disk that holds the sandboxes is nearly full."
    if memory is not None and memory < config.SANDBOX_MIN_FREE_MEMORY_MB:
        return "The machine that runs the sandboxes is low on memory."
    return ""


def pool_room(engine: EngineStatus) -> Room:
    """Return the room that the warm pool may take without displacing requested sandboxes."""
    available = available_memory()
    if available is not None and available < RESERVED_MEMORY_MB:
        return NO_ROOM
    return free_room(engine)
