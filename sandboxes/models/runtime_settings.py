"""What operators change while the portal runs: settings, and the active versions of blueprints.

Code that reads a setting which operators can change imports `config` from here instead of Django's
`settings`. `config` reads from memory. Requests, tasks and sweeps call `refresh` first, which
queries the database once every few seconds, so that every process sees a change soon.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from django.conf import settings as environment
from django.db import DatabaseError, models
from django.db.models import Value
from django.db.models.functions import Cast

from sandboxes.models.abstract.singleton import Singleton
from sandboxes.models.blueprint_version import BlueprintVersion

CACHE_SECONDS = 3.0
"""A change is in force in every process within 5 seconds."""


class RuntimeSettings(Singleton):
    """Settings that operators changed in the admin, in place of those of the environment."""

    overrides = models.JSONField(default=dict, blank=True)
    """Values by the name of the setting."""

    class Meta(Singleton.Meta):
        verbose_name = verbose_name_plural = "settings"


@dataclass(frozen=True)
class RuntimeSetting:
    """Type and label of a setting that can change at run time."""

    type: type[int | float | bool | str]
    label: str


RUNTIME_SETTINGS = {
    "SANDBOX_TTL_MINUTES": RuntimeSetting(int, "default lifetime, in minutes"),
    "SANDBOX_TTL_MIN_MINUTES": RuntimeSetting(int, "minimum lifetime, in minutes"),
    "SANDBOX_TTL_MAX_MINUTES": RuntimeSetting(int, "maximum lifetime, in minutes"),
    "SANDBOX_EXTENSION_MAX_MINUTES": RuntimeSetting(int, "maximum extension, in minutes"),
    "SANDBOX_HARD_CAP_MINUTES": RuntimeSetting(int, "maximum lifetime with extensions, in minutes"),
    "SANDBOX_IDLE_MINUTES": RuntimeSetting(int, "idle timeout, in minutes"),
    "SANDBOX_WARNING_MINUTES": RuntimeSetting(int, "warning before the end, in minutes"),
    "SANDBOX_MAX_PER_USER": RuntimeSetting(int, "active sandboxes per user"),
    "SANDBOX_LAUNCHES_PER_HOUR": RuntimeSetting(int, "launches per user and hour (0: unlimited)"),
    "SANDBOX_MAX_SITE": RuntimeSetting(int, "portal-wide limit (0: automatic)"),
    "SANDBOX_MEMORY_OVERCOMMIT": RuntimeSetting(float, "memory overcommit ratio"),
    "SANDBOX_MIN_FREE_MEMORY_MB": RuntimeSetting(int, "minimum free memory for launches, in MB"),
    "SANDBOX_MAX_CONCURRENT_LAUNCHES": RuntimeSetting(int, "concurrent launches"),
    "SANDBOX_POOL_SIZE": RuntimeSetting(int, "pool size of the default blueprint"),
    "SANDBOX_POOL_MAX_AGE_MINUTES": RuntimeSetting(
        int, "maximum age of pooled sandboxes, in minutes"
    ),
    "SANDBOX_SWEEP_MAX_EXPIRATIONS": RuntimeSetting(
        int, "maximum expirations per sweep (0: unlimited)"
    ),
    "SANDBOX_ORPHAN_GRACE_SECONDS": RuntimeSetting(int, "orphan grace period, in seconds"),
    "SANDBOX_RETENTION_DAYS": RuntimeSetting(int, "retention of ended sandboxes, in days"),
    "SANDBOX_SAVE_POINTS_PER_USER": RuntimeSetting(int, "save points per user (0: none)"),
    "SANDBOX_SAVE_POINTS_MB": RuntimeSetting(int, "size of all save points of a user, in MB"),
    "SANDBOX_SAVE_POINT_DAYS": RuntimeSetting(int, "retention of save points, in days"),
    "ACCOUNT_SIGNUP_OPEN": RuntimeSetting(bool, "sign-up is open"),
    "ACCOUNT_SIGNUP_DOMAINS": RuntimeSetting(
        str, "email domains allowed to sign up, such as example.com, example.org"
    ),
}


class RuntimeConfig:
    """All settings as attributes."""

    def __init__(self) -> None:
        self._chosen: dict[str, Any] = {}
        self._read_at = -inf
        self.active_versions: Mapping[str, str] | None = None
        """Digest of the active version by blueprint; None if no version was ever prepared."""
        self.reads = 0
        """How often the values were read. What is computed from them can be kept until the next."""

    def __getattr__(self, name: str) -> Any:
        return self._chosen[name] if name in self._chosen else getattr(environment, name)

    def refresh(self) -> None:
        """Read changed settings from the database, unless that was done a few seconds ago."""
        if time.monotonic() - self._read_at >= CACHE_SECONDS:
            self.reload()

    def reload(self) -> None:
        """Read changed settings from the database now."""
        try:
            chosen, self.active_versions = _read()
        except DatabaseError:
            return  # Keep the values known so far.
        self._chosen = {name: value for name, value in chosen.items() if name in RUNTIME_SETTINGS}
        self._read_at = time.monotonic()
        self.reads += 1

    @property
    def values(self) -> tuple[object, ...]:
        """What differs from the environment."""
        return sorted(self._chosen.items()), self.active_versions

    def reset_cache(self) -> None:
        """Make the next `refresh` query the database; until then, the environment applies."""
        self._chosen, self._read_at, self.active_versions = {}, -inf, None
        self.reads += 1


def _read() -> tuple[dict[str, Any], Mapping[str, str] | None]:
    """Return the changed settings and the active versions, read with one query."""
    stored = RuntimeSettings.objects.filter(pk=1).values_list(
        Value(""), Cast("overrides", models.TextField()), Value(value=True)
    )
    versions = BlueprintVersion.objects.values_list("name", "digest", "is_active")
    rows = {(name, is_active): text for name, text, is_active in stored.union(versions, all=True)}
    overrides = rows.pop(("", True), "{}")
    active = {name: digest for (name, is_active), digest in sorted(rows.items()) if is_active}
    return json.loads(overrides), active if rows else None


config = RuntimeConfig()
