"""The order in which services start: each as soon as the conditions of its `depends_on` hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from sandboxes.runtime.errors import EngineRefused
from sandboxes.runtime.specs import HealthyCheck, ServiceSpec, StartCondition


@dataclass(frozen=True)
class CompletedCheck:
    """A one-shot service must end with exit code 0."""

    service: str

    def __str__(self) -> str:
        return "complete"


Awaited = HealthyCheck | CompletedCheck


class StartOrder:
    """The services that are still to be started, and what is known of the others.

    `started` are services that need no start: they run, or have completed.
    """

    def __init__(self, services: Iterable[ServiceSpec], started: Iterable[str] = ()) -> None:
        self._waiting = {service.name: service for service in services}
        self._held = {(name, StartCondition.STARTED) for name in started}

    def take_startable(self) -> Sequence[ServiceSpec]:
        """Return the services that can start now, each of them once."""
        found = [one for one in self._waiting.values() if not self._missing(one)]
        for one in found:
            del self._waiting[one.name]
        return found

    def mark_started(self, services: Iterable[ServiceSpec]) -> None:
        self._held |= {(service.name, StartCondition.STARTED) for service in services}

    def mark_held(self, check: Awaited) -> None:
        """Record that a check has succeeded."""
        self._held.add((check.service, condition_of(check)))

    def awaited(self) -> Sequence[Awaited]:
        """Return the checks of started services for which others wait; empty if none waits.

        Raises EngineRefused if services wait for each other.
        """
        missing = {pair for one in self._waiting.values() for pair in self._missing(one)}
        found = [
            HealthyCheck(name) if condition is StartCondition.HEALTHY else CompletedCheck(name)
            for name, condition in sorted(missing)
            if condition is not StartCondition.STARTED
            and (name, StartCondition.STARTED) in self._held
        ]
        if missing and not found:
            raise _cycle(self._waiting)
        return found

    def _missing(self, service: ServiceSpec) -> set[tuple[str, StartCondition]]:
        return set(service.depends_on.items()) - self._held


def condition_of(check: Awaited) -> StartCondition:
    if isinstance(check, HealthyCheck):
        return StartCondition.HEALTHY
    return StartCondition.COMPLETED


def sort_by_dependencies(services: Sequence[ServiceSpec]) -> list[ServiceSpec]:
    """Return services, each after those for which it waits. Raises EngineRefused for a cycle."""
    known = {service.name: service for service in services}
    graph = {name: [n for n in one.depends_on if n in known] for name, one in known.items()}
    try:
        return [known[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        raise _cycle(error.args[1]) from error


def _cycle(names: Iterable[str]) -> EngineRefused:
    listed = ", ".join(sorted(set(names)))
    return EngineRefused(f"These services wait for each other: {listed}.")
