"""The settings in force: what operators chose in the admin, else what the environment says.

Whoever reads a setting that operators may change imports `config` from here instead of from
Django; it reads from memory alone. Requests, tasks and sweeps call `refresh` first, which asks the
database once in a few seconds, so a change reaches every process within those.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf
from typing import Any

from django.conf import settings as environment
from django.db import DatabaseError, models

from sandboxes.models.singleton import Singleton

CACHE_SECONDS = 5.0


class RuntimeSettings(Singleton):
    """Settings that operators changed in the admin, in place of those of the environment."""

    overrides = models.JSONField(default=dict, blank=True)
    """Values by the name of the setting."""

    class Meta(Singleton.Meta):
        verbose_name = verbose_name_plural = "settings"


@dataclass(frozen=True)
class RuntimeSetting:
    """One setting that may change at run time: its type, and what it means."""

    type: type[int | float | bool | str]
    label: str


RUNTIME_SETTINGS = {
    "SANDBOX_TTL_MINUTES": RuntimeSetting(int, "lifetime when none is chosen"),
    "SANDBOX_TTL_MIN_MINUTES": RuntimeSetting(int, "shortest lifetime that may be chosen"),
    "SANDBOX_TTL_MAX_MINUTES": RuntimeSetting(int, "longest lifetime that may be chosen"),
    "SANDBOX_EXTENSION_MAX_MINUTES": RuntimeSetting(int, "longest extension"),
    "SANDBOX_HARD_CAP_MINUTES": RuntimeSetting(int, "no sandbox lives longer"),
    "SANDBOX_IDLE_MINUTES": RuntimeSetting(int, "without traffic for so long, a new sandbox ends"),
    "SANDBOX_WARNING_MINUTES": RuntimeSetting(int, "owners are warned so long before"),
    "SANDBOX_MAX_PER_USER": RuntimeSetting(int, "active sandboxes of one user"),
    "SANDBOX_LAUNCHES_PER_HOUR": RuntimeSetting(
        int, "launches of one user in an hour; 0: no bound"
    ),
    "SANDBOX_MAX_SITE": RuntimeSetting(
        int, "of the whole portal; 0: what memory and subnets carry"
    ),
    "SANDBOX_MEMORY_OVERCOMMIT": RuntimeSetting(float, "how often memory is promised"),
    "SANDBOX_MIN_FREE_MEMORY_MB": RuntimeSetting(
        int, "nobody launches while less memory is available"
    ),
    "SANDBOX_MAX_CONCURRENT_LAUNCHES": RuntimeSetting(int, "so many are made at the same time"),
    "SANDBOX_POOL_SIZE": RuntimeSetting(int, "of the default blueprint, kept ready"),
    "SANDBOX_POOL_MAX_AGE_MINUTES": RuntimeSetting(int, "one that waited for so long is made anew"),
    "SANDBOX_SWEEP_MAX_EXPIRATIONS": RuntimeSetting(
        int, "ended by the clock in one sweep; 0: no bound"
    ),
    "SANDBOX_ORPHAN_GRACE_SECONDS": RuntimeSetting(int, "what nobody needs is removed when older"),
    "SANDBOX_RETENTION_DAYS": RuntimeSetting(int, "how long ended sandboxes are remembered"),
    "ACCOUNT_SIGNUP_OPEN": RuntimeSetting(bool, "whether people may sign up by themselves"),
    "ACCOUNT_SIGNUP_DOMAINS": RuntimeSetting(
        str, "only with addresses of these domains, such as example.com, example.org"
    ),
}


class RuntimeConfig:
    """Every setting by its name, as an attribute."""

    def __init__(self) -> None:
        self._chosen: dict[str, Any] = {}
        self._read_at = -inf

    def __getattr__(self, name: str) -> Any:
        return self._chosen[name] if name in self._chosen else getattr(environment, name)

    def refresh(self) -> None:
        """Read what operators chose, unless that was done just now."""
        if time.monotonic() - self._read_at < CACHE_SECONDS:
            return
        try:
            row = RuntimeSettings.objects.filter(pk=1).first()
        except DatabaseError:
            return  # What was known stays in force.
        chosen = row.overrides if row else {}
        self._chosen = {name: value for name, value in chosen.items() if name in RUNTIME_SETTINGS}
        self._read_at = time.monotonic()

    def reset_cache(self) -> None:
        """Have the next `refresh` ask the database; until then the environment holds."""
        self._chosen, self._read_at = {}, -inf


config = RuntimeConfig()
