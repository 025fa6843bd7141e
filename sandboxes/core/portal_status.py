"""Status of the whole portal that a launch depends on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from django.db.models import Subquery

from sandboxes.core.fleet import Fleet
from sandboxes.lib import clock
from sandboxes.models import Engine, Maintenance, SweepStatus

STARTED_AT = clock.now()
"""When this process was started."""


@dataclass(frozen=True)
class PortalStatus:
    """Maintenance mode, the engines, and what the last sweep found, read together."""

    maintenance: Maintenance
    fleet: Fleet
    engine_reachable: bool
    last_sweep_at: datetime | None

    @property
    def pool_is_checked(self) -> bool:
        """Return whether a sweep has checked the pool since this process was started.

        Processes are stopped to restore a backup, so the restored pool is checked before a claim.
        """
        now = clock.now()
        was_set_back, latest = now < STARTED_AT, now + clock.TOLERANCE
        is_new = self.last_sweep_at is None or STARTED_AT <= self.last_sweep_at <= latest
        return self.engine_reachable and (is_new or was_set_back)

    @classmethod
    def read(cls) -> Self:
        """Read the current status, with one query once all rows exist."""
        maintenance = Maintenance.objects.filter(pk=1)
        sweep = SweepStatus.objects.filter(pk=1)
        engines: list[Any] = list(
            Engine.objects.present().annotate(
                maintenance_until=Subquery(maintenance.values("until")),
                maintenance_message=Subquery(maintenance.values("message")),
                reachable=Subquery(sweep.values("engine_reachable")),
                swept_at=Subquery(sweep.values("last_sweep_at")),
            )
        )
        fleet = Fleet.of(engines)
        if not engines:
            last = SweepStatus.current()
            return cls(Maintenance.current(), fleet, last.engine_reachable, last.last_sweep_at)
        first = engines[0]
        until, message = first.maintenance_until, first.maintenance_message
        reachable = first.reachable is not False
        return cls(
            Maintenance(until=until, message=message or ""), fleet, reachable, first.swept_at
        )
