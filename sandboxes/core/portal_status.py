"""Status of the whole portal that a launch depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from django.db.models import Subquery

from sandboxes.models import EngineStatus, Maintenance


@dataclass(frozen=True)
class PortalStatus:
    """Maintenance mode and engine status, read together."""

    maintenance: Maintenance
    engine: EngineStatus

    @classmethod
    def read(cls) -> Self:
        """Read the current status, with one query once both rows exist."""
        maintenance = Maintenance.objects.filter(pk=1)
        engine = (
            EngineStatus.objects.filter(pk=1)
            .annotate(
                maintenance_until=Subquery(maintenance.values("until")),
                maintenance_message=Subquery(maintenance.values("message")),
            )
            .first()
        )
        if engine is None:
            return cls(Maintenance.current(), EngineStatus.current())
        until, message = engine.maintenance_until, engine.maintenance_message
        return cls(Maintenance(until=until, message=message or ""), engine)
