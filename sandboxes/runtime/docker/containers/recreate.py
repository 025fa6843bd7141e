"""Replacement of a sandbox's containers by new ones at the same addresses.

    rename the previous containers → create new ones → stop the previous ones → start the new ones
    → wait until they are ready → remove the previous ones

The previous containers come back if a step fails. What exists after a kill tells the next call how
far this one came, so it starts over, or removes what is left of the previous containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sandboxes.runtime import (
    EngineUnreachable,
    NotReady,
    Report,
    RuntimeFailure,
    SandboxFacts,
    SandboxSpec,
    ServiceSpec,
    ServiceState,
)
from sandboxes.runtime.docker.client import EngineClient, run_parallel
from sandboxes.runtime.docker.containers.create import Creator
from sandboxes.runtime.docker.containers.destroy import remove_container, stop_container
from sandboxes.runtime.docker.containers.startup import START_STEP, Starter
from sandboxes.runtime.docker.names import SERVICE, Names, is_previous, label
from sandboxes.runtime.docker.readiness import Timer
from sandboxes.runtime.docker.volumes import SharedVolumes, mounted

STOP_SECONDS = 5
"""Time to stop of a service that its blueprint no longer has."""
RESTORE_TIMEOUT_SECONDS = 10.0

Containers = Mapping[str, str]
"""ID of the container of each service."""


@dataclass(frozen=True)
class Recreator:
    """Recreates the containers of one portal's sandboxes."""

    engine: EngineClient
    names: Names
    creator: Creator
    starter: Starter
    volumes: SharedVolumes

    def recreate(self, spec: SandboxSpec, report: Report, timer: Timer) -> SandboxFacts:
        """Replace all containers. Raises the errors of `create`; nothing has changed then.

        After EngineUnreachable, the next call continues.
        """
        current, previous = self._find(spec.id)
        if previous and previous.keys() < current.keys():
            # All new containers were ready: an earlier call was killed during its last step.
            self._remove(previous.values())
            facts = self._create(spec, {}, report, timer)
            self._remove_unused_volumes(spec)
            return facts
        try:
            previous = self._set_aside(spec.id, current, previous)
            facts = self._create(spec, previous, report, timer)
        except EngineUnreachable:
            raise
        except RuntimeFailure:
            self._restore(spec, report)
            raise
        self._remove(previous.values())
        self._remove_unused_volumes(spec)
        return facts

    def _find(self, sandbox_id: str) -> tuple[Containers, Containers]:
        """Return the sandbox's containers, and those that are kept until these are ready."""
        with self.engine.calling("list the sandbox's containers") as client:
            rows = client.containers(all=True, filters=self.names.filters(sandbox_id))
        found: tuple[dict[str, str], dict[str, str]] = {}, {}
        for row in rows:
            found[is_previous(row)][label(row, SERVICE)] = row["Id"]
        return found

    def _set_aside(self, sandbox_id: str, current: Containers, previous: Containers) -> Containers:
        """Rename the containers, and remove new ones of an interrupted attempt."""
        self._remove(current[name] for name in current.keys() & previous.keys())
        renamed = {name: current[name] for name in current.keys() - previous.keys()}
        names = {name: self.names.previous_container(sandbox_id, name) for name in renamed}
        run_parallel([partial(self._rename, renamed[name], names[name]) for name in renamed])
        return {**previous, **renamed}

    def _create(
        self, spec: SandboxSpec, previous: Containers, report: Report, timer: Timer
    ) -> SandboxFacts:
        report("network")
        # An interrupted attempt may have left data.
        self._remove_unused_volumes(spec)
        described = dict(zip(previous, self._inspect_all(previous.values()), strict=True))
        host_ports = {name: host_ports_of(one) for name, one in described.items()}
        taken = {volume for one in described.values() for volume in mounted(one)}
        new = self.creator.create_containers(spec, host_ports, taken)
        report(START_STEP)
        # A service without data needs no time, which open connections could take.
        seconds = {
            service.name: service.stop_seconds if service.writes_to_layer or service.volumes else 0
            for service in spec.services
        }
        stops = [(one, seconds.get(name, STOP_SECONDS)) for name, one in previous.items()]
        run_parallel([partial(stop_container, self.engine, *stop) for stop in stops])
        return self.starter.start(spec, new, report, timer)

    def _restore(self, spec: SandboxSpec, report: Report) -> None:
        """Start the previous containers again in place of the new ones."""
        current, previous = self._find(spec.id)
        self._remove(current[name] for name in current.keys() & previous.keys())
        self._remove_unused_volumes(spec)
        for name, container_id in previous.items():
            self._rename(container_id, self.names.container(spec.id, name))
        kept = {**current, **previous}
        facts = self.starter.readiness.observer.services(spec.id)
        completed = {n: kept[n] for n, s in facts.items() if s.state is ServiceState.COMPLETED}

        def start(service: ServiceSpec) -> str:
            self._start(kept[service.name])
            return kept[service.name]

        timer = Timer(RESTORE_TIMEOUT_SECONDS)
        # They have the sandbox's credentials.
        spec = replace(spec, save_point="")
        with suppress(NotReady):
            ids = self.starter.start_in_order(spec, completed, start, report, timer)
            self.starter.readiness.until_ready(spec, ids, report, timer)
        # Also those that still wait for others.
        stopped = [kept[name] for name in kept.keys() - completed.keys()]
        run_parallel([partial(self._start, container_id) for container_id in stopped])

    def _remove_unused_volumes(self, spec: SandboxSpec) -> None:
        if spec.volumes:
            self.volumes.remove_unused(spec.id)

    def _inspect_all(self, container_ids: Iterable[str]) -> list[dict[str, Any]]:
        return run_parallel([partial(self._inspect, one) for one in container_ids])

    def _inspect(self, container_id: str) -> dict[str, Any]:
        with self.engine.calling("inspect the sandbox's container") as client:
            return dict(client.inspect_container(container_id))

    def _rename(self, container_id: str, name: str) -> None:
        with self.engine.calling("rename a container") as client:
            client.rename(container_id, name)

    def _start(self, container_id: str) -> None:
        with self.engine.calling("start a container") as client:
            client.start(container_id)

    def _remove(self, container_ids: Iterable[str]) -> None:
        run_parallel([partial(remove_container, self.engine, one) for one in container_ids])


def host_ports_of(description: Mapping[str, Any]) -> dict[int, int]:
    """Return the host port of each published port of a container, as far as it is known.

    A container of an earlier version has fixed ports only while it runs.
    """
    found = {}
    given = description["HostConfig"].get("PortBindings") or {}
    for bindings in (given, description["NetworkSettings"].get("Ports") or {}):
        for port, addresses in bindings.items():
            if addresses and addresses[0]["HostPort"]:
                found[int(port.partition("/")[0])] = int(addresses[0]["HostPort"])
    return found
