"""Repair of an existing sandbox: its directories, and so its data, are always kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sandboxes.runtime import (
    ProbeResult,
    ReadyCheck,
    Repair,
    Report,
    SandboxFacts,
    SandboxSpec,
    ServiceNotFound,
    probing,
)
from sandboxes.runtime.process.create import Creator
from sandboxes.runtime.process.destroy import Destroyer
from sandboxes.runtime.process.observe import Observer

PATIENCE_SECONDS = 10.0
"""How long a sandbox that runs may take to respond before it is restarted."""


@dataclass(frozen=True)
class Repairer:
    """Probes sandboxes at `probe_host`, where this process reaches published ports."""

    observer: Observer
    creator: Creator
    destroyer: Destroyer
    probe_host: str

    def probe(
        self,
        observed: Iterable[SandboxFacts],
        checks: Mapping[str, Sequence[ReadyCheck]],
        seconds: float,
    ) -> dict[str, ProbeResult]:
        return probing.probe_sandboxes(
            observed, checks, seconds, self.observer.read_traffic, self.probe_host
        )

    def repair(self, spec: SandboxSpec, report: Report, timeout: float) -> Repair:
        """Restart a sandbox that doesn't respond.

        Raises NotReady, ServiceNotFound, CapacityExhausted, EngineRefused.
        """
        facts = self.observer.observe_one(spec.id)
        for service in spec.services:
            if facts is None or service.name not in facts.services:
                raise ServiceNotFound(f"The service {service.name} no longer exists.")
        assert facts
        report("network")
        if facts.alive:
            result = self.probe([facts], {spec.id: spec.ready}, PATIENCE_SECONDS)[spec.id]
            if result.responded:
                return Repair(facts, problem=result.problem)
        self.destroyer.stop(spec.id)
        facts = self.creator.create(spec, report, timeout)
        return Repair(facts, ["Restarted all services."])
