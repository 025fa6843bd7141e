"""A blueprint's own limits, within those of the portal.

What a stack can't do without (memory, CPUs, disk) must fit: a file that asks for more is invalid,
and a version that a later setting excludes isn't launched. Times and numbers of sandboxes, which
operators change while the portal runs, are capped instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from sandboxes.models.runtime_settings import config

ROUNDING = 1e-6
"""Sums of CPUs are not exact."""


@dataclass(frozen=True)
class Limits:
    """Limits of a blueprint's sandboxes; those of the portal apply in place of None."""

    memory_mb: int | None = None
    """Memory of all services together, shared out among those without a limit of their own."""
    cpus: float | None = None
    """CPUs of all services together, shared out in the same way."""
    disk_mb: int | None = None
    ttl_minutes: int | None = None
    """Lifetime if the launch request names none."""
    ttl_max_minutes: int | None = None
    """Maximum lifetime, extensions included."""
    idle_minutes: int | None = None
    max_active: int | None = None
    """Active sandboxes of this blueprint per user."""


@dataclass(frozen=True)
class Size:
    """A kind of resources, the setting with its default, and the one with its maximum."""

    key: str
    unit: str
    default: str
    maximum: str

    @property
    def most(self) -> float:
        """The most that a blueprint may have."""
        return float(max(getattr(settings, self.default), getattr(settings, self.maximum)))

    @property
    def setting(self) -> str:
        """The setting that says so."""
        is_default = getattr(settings, self.default) >= getattr(settings, self.maximum)
        return self.default if is_default else self.maximum


MEMORY = Size("memory", "MB of memory", "SANDBOX_MEMORY_MB", "SANDBOX_MEMORY_MAX_MB")
CPUS = Size("cpus", "CPUs", "SANDBOX_CPUS", "SANDBOX_CPUS_MAX")
DISK = Size("disk", "MB of disk space", "SANDBOX_DISK_MB", "SANDBOX_DISK_MAX_MB")

CAPS = (
    ("lifetime.default", "ttl_minutes", "SANDBOX_TTL_MAX_MINUTES", " minutes"),
    ("lifetime.max", "ttl_max_minutes", "SANDBOX_HARD_CAP_MINUTES", " minutes"),
    ("idle_timeout", "idle_minutes", "SANDBOX_IDLE_MINUTES", " minutes"),
    ("active_per_user", "max_active", "SANDBOX_MAX_PER_USER", ""),
)
"""Key, field of `Limits`, setting and unit of the limits that the portal caps."""


@dataclass(frozen=True)
class Excess:
    """Resources of which a blueprint wants more than the portal allows."""

    size: Size
    wanted: float

    def __str__(self) -> str:
        size = self.size
        return (
            f"{self.wanted:g} {size.unit} are more than {size.setting} allows, which is "
            f"{size.most:g}."
        )

    @property
    def remedy(self) -> str:
        return f"Lower it, or raise {self.size.maximum}."


def sizes_above(limits: Limits) -> Iterator[Excess]:
    """Yield the resources of which these limits allow more than the portal does."""
    wanted = ((MEMORY, limits.memory_mb), (CPUS, limits.cpus), (DISK, limits.disk_mb))
    for size, value in wanted:
        if value is not None and value > size.most + ROUNDING:
            yield Excess(size, value)


def caps(limits: Limits) -> Iterator[tuple[str, str]]:
    """Yield the key of each limit above the portal's, and a sentence that names both."""
    for key, field, setting, unit in CAPS:
        wanted, most = getattr(limits, field), getattr(config, setting)
        if wanted is not None and wanted > most:
            yield key, f"{wanted}{unit} are capped to {most}, the value of {setting}."
