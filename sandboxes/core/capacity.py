"""How many sandboxes the whole portal can run, and how much room the pool has."""

from __future__ import annotations

import os

from sandboxes.models import Sandbox, Site
from sandboxes.models.runtime_settings import settings
from sandboxes.runtime.host_resources import available_memory

SUBNET_ADDRESSES = 16
RESERVED_MEMORY_MB = 1024
"""Left for the portal, the engine and the system when the site's limit follows from memory."""


def site_limit() -> int:
    """How many sandboxes this portal carries: as set, or what memory and subnets allow."""
    if settings.SANDBOX_MAX_SITE:
        return int(settings.SANDBOX_MAX_SITE)
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    usable_mb = (memory_mb - RESERVED_MEMORY_MB) * settings.SANDBOX_MEMORY_OVERCOMMIT
    by_memory = usable_mb // settings.SANDBOX_MEMORY_MB
    by_subnets = settings.SANDBOX_SUBNETS.num_addresses // SUBNET_ADDRESSES
    return int(max(1, min(by_memory, by_subnets)))


def shortage(site: Site) -> str:
    """What the engine's machine lacks for one more sandbox, as the last sweep saw it; or nothing.

    One that began since may let a launch too many through; the limits of each sandbox still hold.
    """
    disk, memory = site.disk_free_mb, site.memory_available_mb
    if disk is not None and disk < settings.SANDBOX_DISK_MB:
        return "The disk that holds the sandboxes is nearly full."
    if memory is not None and memory < settings.SANDBOX_MIN_FREE_MEMORY_MB:
        return "The machine that runs the sandboxes is short of memory."
    return ""


def room_for_stock(site: Site) -> int:
    """How many sandboxes the pool may hold so that it is in nobody's way."""
    available = available_memory()
    if shortage(site) or (available is not None and available < RESERVED_MEMORY_MB):
        return 0
    return max(0, site_limit() - Sandbox.objects.live().of_people().count())
