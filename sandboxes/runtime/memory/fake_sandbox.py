"""A sandbox of the fake engine."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from sandboxes.runtime import (
    LineCount,
    NetworkBytes,
    ProbeResult,
    SandboxFacts,
    ServiceFacts,
    Usage,
)


@dataclass(frozen=True)
class FakeSavePoint:
    """The data of a sandbox at one moment."""

    data: str
    disk_mb: float
    created_at: datetime = field(default_factory=timezone.now)


@dataclass
class FakeSandbox:
    """One sandbox: its services, their logs, its usage."""

    id: str
    created_at: datetime = field(default_factory=timezone.now)
    services: dict[str, ServiceFacts] = field(default_factory=dict)
    previous: dict[str, ServiceFacts] | None = None
    """Services that are kept until their replacements are ready."""
    logs: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    traffic_bytes: int = 0
    neighbors: int = 0
    disk_mb: float = 0.0
    data: str = ""
    """Stands for all that its services have stored; empty for the seed."""
    probe: ProbeResult = field(default_factory=ProbeResult)
    """What probes find while all services run."""
    claim: str = ""

    def facts(self, *, sizes: bool = False) -> SandboxFacts:
        return SandboxFacts(
            id=self.id,
            services=dict(self.services),
            created_at=self.created_at,
            traffic_bytes=self.traffic_bytes,
            network=NetworkBytes(self.traffic_bytes, self.traffic_bytes),
            neighbors=self.neighbors,
            disk_mb=self.disk_mb if sizes else None,
            claim=self.claim,
        )

    def usage(self) -> Usage:
        """Return usage; each sandbox uses 1 % of a CPU."""
        return Usage(
            memory_mb=64.0 * len(self.services),
            cpu_seconds=max(0.0, (timezone.now() - self.created_at).total_seconds() / 100),
            received_bytes=self.traffic_bytes,
            sent_bytes=self.traffic_bytes,
        )

    def carry_count(self, count: LineCount) -> LineCount:
        """Return the count including lines written since; positions are line numbers."""
        log = self.logs[count.service]
        return count.further(map(str.encode, log[int(count.read_to or 0) :]), str(len(log)))
