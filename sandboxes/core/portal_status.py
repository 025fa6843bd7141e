"""Status of the whole portal that a launch depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from django.db.models import Subquery

from sandboxes.models import EngineStatus, Maintenance, SweepStatus


@dataclass(frozen=True)
class PortalStatus:
    """Maintenance mode, engine status, and what the last sweep found, read together."""

    maintenance: Maintenance
    engine: EngineStatus
    engine_reachable: bool

    @classmethod
    def read(cls) -> Self:
        """Read the current status, with one query once all rows exist."""
        maintenance = Maintenance.objects.filter(pk=1)
        sweep = SweepStatus.objects.filter(pk=1)
        engine = (
            EngineStatus.objects.filter(pk=1)
            .annotate(
                maintenance_until=Subquery(maintenance.values("until")),
                maintenance_message=Subquery(maintenance.values("message")),
                reachable=Subquery(sweep.values("engine_reachable")),
            )
            .first()
        )
        if engine is None:
            reachable = SweepStatus.current().engine_reachable
            return cls(Maintenance.current(), EngineStatus.current(), reachable)
        until, message = engine.maintenance_until, engine.maintenance_message
        reachable = engine.reachable is not False
        return cls(Maintenance(until=until, message=message or ""), engine, reachable)
