"""The start of a sandbox's containers, in the order of their conditions, until it is ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sandboxes.runtime import CommandCheck, Report, SandboxFacts, SandboxSpec, ServiceSpec
from sandboxes.runtime.docker.client import run_parallel
from sandboxes.runtime.docker.containers.create import Creator, NewContainer
from sandboxes.runtime.docker.readiness import STEP, ReadinessProbe, Timer, Watch
from sandboxes.runtime.start_order import StartOrder

START_STEP = "containers"
PAUSE_SECONDS = 0.1
"""The pause between two looks at services for which others wait."""

Start = Callable[[ServiceSpec], str]
"""Starts the container of a service and returns its ID."""


@dataclass(frozen=True)
class Starter:
    """Starts sandboxes whose containers exist."""

    creator: Creator
    readiness: ReadinessProbe

    def start(
        self,
        spec: SandboxSpec,
        containers: Sequence[NewContainer],
        report: Report,
        timer: Timer,
    ) -> SandboxFacts:
        """Start new containers, wait until the sandbox is ready, and return the facts about it.

        Raises NotReady, CapacityExhausted, EngineRefused, EngineUnreachable.
        """
        new = {s.name: one for s, one in zip(spec.services, containers, strict=True)}
        completed = {name: one.id for name, one in new.items() if one.has_completed}

        def start(service: ServiceSpec) -> str:
            return self.creator.start(spec, service, new[service.name])

        ids = self.start_in_order(spec, completed, start, report, timer)
        report(STEP)
        self.readiness.until_ready(spec, ids, report, timer)
        if not self.creator.apply_final_limits(spec, ids):
            self.readiness.until_ready(spec, ids, report, timer)
        return self.readiness.facts(spec)

    def start_in_order(
        self,
        spec: SandboxSpec,
        started: Mapping[str, str],
        start: Start,
        report: Report,
        timer: Timer,
    ) -> Mapping[str, str]:
        """Start all services that aren't `started` yet; return the ID of each container.

        Services that wait for no other are started in parallel.
        """
        ids = dict(started)
        order = StartOrder([s for s in spec.services if s.name not in started], started)
        watch = Watch(self.readiness.observer, spec, ids, START_STEP, report, timer)
        while True:
            while batch := order.take_startable():
                ids |= _start_parallel(batch, start)
                if spec.save_point:
                    self._rekey(batch, replace(watch, ids=ids))
                order.mark_started(batch)
            if not (awaited := order.awaited()):
                return ids
            watch.observe()
            succeeded = [check for check in awaited if self.readiness.succeeds(check, watch)]
            for check in succeeded:
                order.mark_held(check)
            if not succeeded:
                watch.look(awaited[0])
                time.sleep(PAUSE_SECONDS)

    def _rekey(self, services: Collection[ServiceSpec], watch: Watch) -> None:
        """Set the sandbox's own credentials in the data of its save point. Raises NotReady."""
        for service in services:
            if service.rekey:
                self.readiness.wait_for(CommandCheck(service.name, service.rekey), watch)


def _start_parallel(services: Collection[ServiceSpec], start: Start) -> dict[str, str]:
    ids = run_parallel([partial(start, one) for one in services], max_parallel=len(services))
    return {service.name: one for service, one in zip(services, ids, strict=True)}
