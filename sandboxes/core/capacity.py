"""How many sandboxes the engines can run, and how many the warm pool may hold.

Each sandbox is promised its own memory, so a large one takes the capacity of several small ones.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from django.db.models import Count, Sum

from sandboxes.core.fleet import Fleet
from sandboxes.models import Engine, Sandbox
from sandboxes.models.runtime_settings import config
from sandboxes.models.sandbox import IS_REQUESTED

SUBNET_ADDRESSES = 16
"""Addresses in the subnet of one sandbox."""
RESERVED_MEMORY_MB = 1024
"""Memory left for the portal, the engine and the system if the portal-wide limit is derived."""


@dataclass(frozen=True)
class EngineCapacity:
    """What further sandboxes may take on one engine; below zero after a limit was lowered."""

    sandboxes: int
    memory_mb: float
    """Memory that isn't promised yet; infinite if the number of sandboxes is configured."""
    taken: int = 0
    """Number of sandboxes that are there; without any, the first may be as large as it is."""

    def for_sandboxes(self, memory_mb: int) -> int:
        """Return how many further sandboxes with this much memory fit."""
        by_memory = self.memory_mb // memory_mb if self.memory_mb < inf and memory_mb else inf
        return int(max(0 if self.taken else 1, min(self.sandboxes, by_memory), 0))


@dataclass(frozen=True)
class FreeCapacity:
    """What further sandboxes may take on the engines that get new ones."""

    fleet: Fleet
    engines: Mapping[str, EngineCapacity]
    """By the engine's name."""
    sandboxes: int
    """For all engines together; below zero after a limit was lowered."""
    taken: int = 0
    """Number of sandboxes on all engines, also on those that get no new ones."""
    promised_mb: Mapping[str, int] = field(default_factory=dict)
    """What all sandboxes of each engine were promised, those of the warm pool included."""

    def for_sandboxes(self, memory_mb: int) -> int:
        """Return how many further sandboxes with this much memory fit."""
        found = sum(free.for_sandboxes(memory_mb) for free in self.engines.values())
        return min(found, max(self.sandboxes, 0 if self.taken else 1))

    def engines_for(self, memory_mb: int) -> set[str]:
        """Return the engines on which a sandbox with this much memory fits."""
        return {name for name, free in self.engines.items() if free.for_sandboxes(memory_mb)}

    def among(self, engines: Iterable[Engine]) -> FreeCapacity:
        """Return the capacity of these engines alone."""
        names = {engine.name for engine in engines}
        chosen = {name: free for name, free in self.engines.items() if name in names}
        return replace(self, engines=chosen)

    def unpromised_mb(self, engine: Engine) -> float:
        """Return the memory of an engine that none of its sandboxes was promised."""
        return usable_memory(engine) - self.promised_mb.get(engine.name, 0)

    def without(self, memory_mb: Collection[int]) -> FreeCapacity:
        """Return the capacity that further sandboxes with this much memory leave."""
        free = self
        for size in memory_mb:
            engines = free.engines
            largest = max(engines, key=lambda name: engines[name].memory_mb, default="")
            free = free._changed(largest, -1, -size)
        return free

    def after(self, ended: Sandbox) -> FreeCapacity:
        """Return the capacity after a sandbox has ended."""
        return self._changed(ended.engine_name, 1, ended.memory_mb)

    def _changed(self, engine: str, sandboxes: int, memory_mb: int) -> FreeCapacity:
        engines = dict(self.engines)
        if free := engines.get(engine):
            engines[engine] = EngineCapacity(
                free.sandboxes + sandboxes, free.memory_mb + memory_mb, free.taken - sandboxes
            )
        total, taken = self.sandboxes + sandboxes, self.taken - sandboxes
        return replace(self, engines=engines, sandboxes=total, taken=taken)


NO_CAPACITY = FreeCapacity(Fleet([]), {}, 0, taken=1)


def usable_memory(engine: Engine) -> float:
    """Return the memory in MB that may be promised to sandboxes of an engine.

    Until a sweep has recorded the memory of the default engine, that of this machine counts.
    """
    memory_mb = engine.memory_mb or _memory_of_this_machine()
    return float((memory_mb - RESERVED_MEMORY_MB) * config.SANDBOX_MEMORY_OVERCOMMIT)


def total_capacity(fleet: Fleet) -> FreeCapacity:
    """Return the capacity of a portal without sandboxes: as configured, or what engines allow."""
    return _free_capacity(fleet, {})


def free_capacity(fleet: Fleet, moving: Sandbox | None = None) -> FreeCapacity:
    """Return the capacity that requested sandboxes leave. The warm pool makes way for them.

    A sandbox that is moving to another engine isn't counted.
    """
    live = Sandbox.objects.live().exclude(pk=moving.pk) if moving else Sandbox.objects.live()
    rows = live.values("engine_id").order_by()
    found = rows.annotate(
        taken=Count("pk", filter=IS_REQUESTED),
        requested_mb=Sum("memory_mb", filter=IS_REQUESTED, default=0),
        promised_mb=Sum("memory_mb"),
    )
    return _free_capacity(fleet, {row["engine_id"]: row for row in found})


def _free_capacity(fleet: Fleet, found: Mapping[str, Mapping[str, Any]]) -> FreeCapacity:
    taken = sum(row["taken"] for row in found.values())
    most = int(config.SANDBOX_MAX_SITE)
    subnets = config.SANDBOX_SUBNETS.num_addresses // SUBNET_ADDRESSES
    engines = {}
    for engine in fleet.open:
        here = found.get(engine.name, {"taken": 0, "requested_mb": 0})
        engines[engine.name] = (
            EngineCapacity(most - taken, inf, here["taken"])
            if most
            else EngineCapacity(
                subnets - here["taken"],
                usable_memory(engine) - here["requested_mb"],
                here["taken"],
            )
        )
    return FreeCapacity(
        fleet,
        engines,
        most - taken if most else sum(free.sandboxes for free in engines.values()),
        taken,
        {name: row["promised_mb"] for name, row in found.items()},
    )


def site_limit(fleet: Fleet) -> int:
    """Return how many sandboxes with the default limits this portal may run."""
    return total_capacity(fleet).for_sandboxes(config.SANDBOX_MEMORY_MB)


def _memory_of_this_machine() -> int:
    """Return the total memory in MB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def shortage(fleet: Fleet, disk_mb: int) -> str:
    """Return the resource that all engines lack for a sandbox with this disk limit.

    Empty if one of them lacks none.
    """
    found = [engine_shortage(engine, disk_mb) for engine in fleet.open]
    return found[0] if found and all(found) else ""


def engine_shortage(engine: Engine, disk_mb: int) -> str:
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


def pool_capacity(fleet: Fleet) -> FreeCapacity:
    """Return the capacity that the warm pool may take without displacing requested sandboxes.

    Engines whose machine is short of memory take none.
    """
    available = [(engine, engine.memory_available_mb) for engine in fleet.engines]
    return free_capacity(fleet).among(
        engine for engine, left in available if left is None or left >= RESERVED_MEMORY_MB
    )
