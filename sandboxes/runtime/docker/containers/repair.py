"""Repair of an existing sandbox: its containers, and so its data, are always kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from docker.errors import APIError

from sandboxes.runtime import (
    ProbeResult,
    Repair,
    Report,
    SandboxFacts,
    SandboxSpec,
    ServiceNotFound,
    ServiceSpec,
    ServiceState,
)
from sandboxes.runtime.docker.client import EngineClient, error_message, is_gone, run_parallel
from sandboxes.runtime.docker.containers.container_config import names_of
from sandboxes.runtime.docker.containers.create import has_completed
from sandboxes.runtime.docker.containers.destroy import Destroyer, stop_container
from sandboxes.runtime.docker.containers.startup import START_STEP, Starter
from sandboxes.runtime.docker.names import SERVICE, Names, is_previous, label
from sandboxes.runtime.docker.networks import Networks
from sandboxes.runtime.docker.observe import Observer
from sandboxes.runtime.docker.readiness import STEP, Timer

Container = dict[str, Any]

PATIENCE_SECONDS = 10.0
"""How long a sandbox that runs may take to respond before it is restarted."""
REFUSED_SECONDS = 1.0
"""The same for ports that refuse connections, which a busy service doesn't."""
PAUSE_SECONDS = 0.2


@dataclass
class _Attempt:
    """A repair in progress: the sandbox's containers by service, and what was done so far."""

    spec: SandboxSpec
    containers: Mapping[str, Container]
    resumed: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    restarted: bool = False

    @property
    def ids(self) -> dict[str, str]:
        return {name: str(one["Id"]) for name, one in self.containers.items()}

    def has_completed(self, service: ServiceSpec) -> bool:
        return has_completed(service, self.containers[service.name])

    @property
    def has_changed(self) -> bool:
        return bool(self.resumed or self.connected or self.started)

    @property
    def actions(self) -> list[str]:
        done = {
            "Resumed": self.resumed,
            "Connected to the sandbox's network": self.connected,
            "Started": self.started,
        }
        sentences = [
            f"{verb}: {', '.join(sorted(names))}." for verb, names in done.items() if names
        ]
        return [*sentences, "Restarted all services."] if self.restarted else sentences


@dataclass(frozen=True)
class Repairer:
    """Repairs sandboxes of one portal."""

    engine: EngineClient
    names: Names
    networks: Networks
    observer: Observer
    starter: Starter
    destroyer: Destroyer

    def repair(self, spec: SandboxSpec, report: Report, timer: Timer) -> Repair:
        """Make the sandbox reachable, by the least that suffices.

        Raises NotReady, ServiceNotFound, CapacityExhausted, EngineRefused, EngineUnreachable.
        """
        report("network")
        attempt = _Attempt(spec, self._containers(spec))
        self.networks.ensure(spec)
        network = self.networks.find(spec.id)
        report(START_STEP)
        services = [service for service in spec.services if not attempt.has_completed(service)]
        run_parallel([partial(self._reconnect, attempt, service, network) for service in services])
        attempt.started = self._start_stopped(attempt, report, timer)
        report(STEP)
        result = self._probe_until_settled(attempt, report)
        if not result.responded:
            self._restart(attempt, report, timer)
            result = ProbeResult()
        return Repair(self.starter.readiness.facts(spec), attempt.actions, result.problem)

    def _containers(self, spec: SandboxSpec) -> dict[str, Container]:
        """Return the details of all containers by service. Raises ServiceNotFound."""
        with self.engine.calling("list the sandbox's containers") as client:
            rows = client.containers(all=True, filters=self.names.filters(spec.id))
        ids = {label(row, SERVICE): row["Id"] for row in rows if not is_previous(row)}
        for service in spec.services:
            if service.name not in ids:
                raise _service_gone(service)
        return {one.name: self._inspect(one, ids[one.name]) for one in spec.services}

    def _inspect(self, service: ServiceSpec, container_id: str) -> Container:
        with self.engine.calling(f"inspect the service {service.name}") as client:
            try:
                return dict(client.inspect_container(container_id))
            except APIError as error:
                if is_gone(error):
                    raise _service_gone(service) from error
                raise

    def _reconnect(self, attempt: _Attempt, service: ServiceSpec, network_id: str) -> None:
        """Resume the service and connect it to its network, as far as necessary."""
        container, name = attempt.containers[service.name], service.name
        container_id, running = container["Id"], container["State"]["Running"]
        if container["State"]["Paused"]:
            with self.engine.calling(f"resume the service {name}") as client:
                client.unpause(container_id)
            attempt.resumed.append(name)
        if not self._is_connected(container, service, network_id):
            if running and self._other_networks(container, network_id):
                # Otherwise its own name would keep leading to its address in the other network.
                stop_container(self.engine, container_id, service.stop_seconds)
                running = False
            self._connect(container, service, network_id)
            attempt.connected.append(name)
        if running:
            attempt.running.append(name)

    def _start_stopped(self, attempt: _Attempt, report: Report, timer: Timer) -> list[str]:
        """Start the services that don't run, in order; return their names."""

        def start(service: ServiceSpec) -> str:
            container_id = attempt.ids[service.name]
            with self.engine.calling(f"start the service {service.name}") as client:
                client.start(container_id)
            return container_id

        completed = [one.name for one in attempt.spec.services if attempt.has_completed(one)]
        up = {name: attempt.ids[name] for name in (*attempt.running, *completed)}
        ids = self.starter.start_in_order(attempt.spec, up, start, report, timer)
        return list(ids.keys() - up.keys())

    def _is_connected(self, container: Container, service: ServiceSpec, network_id: str) -> bool:
        """Return whether the service is in its network, under its names, and in no other."""
        endpoints = list(container["NetworkSettings"]["Networks"].values())
        if len(endpoints) != 1 or endpoints[0]["NetworkID"] != network_id:
            return False
        has_address = bool(endpoints[0]["IPAddress"]) or not container["State"]["Running"]
        return has_address and set(names_of(service)) <= set(endpoints[0].get("Aliases") or ())

    def _other_networks(self, container: Container, network_id: str) -> set[str]:
        endpoints = container["NetworkSettings"]["Networks"].values()
        return {endpoint["NetworkID"] for endpoint in endpoints} - {"", network_id}

    def _connect(self, container: Container, service: ServiceSpec, network_id: str) -> None:
        """Connect the service to its network only, under its names."""
        with self.engine.calling(f"connect the service {service.name} to its network") as client:
            others = self._other_networks(container, network_id)
            # A stopped container keeps the endpoint of a network that was removed, by its name.
            for network in [*others, network_id]:
                try:
                    client.disconnect_container_from_network(container["Id"], network, force=True)
                except APIError as error:
                    if not (is_gone(error) or "is not connected" in error_message(error)):
                        raise
            client.connect_container_to_network(
                container["Id"], network_id, aliases=names_of(service)
            )

    def _probe_until_settled(self, attempt: _Attempt, report: Report) -> ProbeResult:
        """Return the result of the last probe: a service that was just started needs a while."""
        ends = time.monotonic() + PATIENCE_SECONDS
        gives_up = ends if attempt.has_changed else time.monotonic() + REFUSED_SECONDS
        while True:
            report(STEP)
            result = self._probe(attempt.spec, max(PAUSE_SECONDS, ends - time.monotonic()))
            if not result.problem or time.monotonic() > (ends if result.responded else gives_up):
                return result
            time.sleep(PAUSE_SECONDS)

    def _probe(self, spec: SandboxSpec, seconds: float) -> ProbeResult:
        facts = self.observer.observe(spec.id).get(spec.id)
        if facts is None or not facts.alive or not publishes_all(spec, facts):
            return ProbeResult("Not all services run with all their ports.", responded=False)
        return self.starter.readiness.probe([facts], {spec.id: spec.ready}, seconds)[spec.id]

    def _restart(self, attempt: _Attempt, report: Report, timer: Timer) -> None:
        """Stop all services, create their network again, and start them."""
        spec = attempt.spec
        services = [service for service in spec.services if not attempt.has_completed(service)]
        stops = [(attempt.ids[one.name], one.stop_seconds) for one in services]
        run_parallel([partial(stop_container, self.engine, *stop) for stop in stops])
        self.destroyer.disconnect_all(self.networks.find(spec.id))
        self.destroyer.remove_network(self.networks.find(spec.id))
        self.networks.ensure(spec)
        network_id = self.networks.find(spec.id)
        for service in services:
            self._connect(attempt.containers[service.name], service, network_id)
        attempt.running, attempt.restarted = [], True
        self._start_stopped(attempt, report, timer)
        self.starter.readiness.until_ready(spec, attempt.ids, report, timer)


def publishes_all(spec: SandboxSpec, facts: SandboxFacts) -> bool:
    """Return whether every port of the services that run is published."""
    return all(
        set(service.ports) <= set(facts.services[service.name].ports)
        for service in spec.services
        if facts.services[service.name].state is not ServiceState.COMPLETED
    )


def _service_gone(service: ServiceSpec) -> ServiceNotFound:
    return ServiceNotFound(f"The service {service.name} is no longer on the engine.")
