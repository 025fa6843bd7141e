"""Facts about sandboxes from the engine's lists, in three calls for any number of sandboxes.

Measuring shared volumes takes a fourth one where their files can't be read from here.

Only details that the lists lack take single calls: why a container stopped, which is exceptional,
and traffic if the engine runs on another machine without a socket proxy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from docker.errors import APIError

from sandboxes.runtime import (
    NetworkBytes,
    Published,
    SandboxFacts,
    ServiceFacts,
    ServiceState,
)
from sandboxes.runtime.directory_tree import DiskUsage
from sandboxes.runtime.docker.client import (
    CONNECTION_POOL_SIZE,
    EngineClient,
    is_gone,
    run_parallel,
)
from sandboxes.runtime.docker.measurements.kernel_counters import (
    MB,
    bridge_bytes,
    proxied_bytes,
    stats_network_bytes,
)
from sandboxes.runtime.docker.measurements.writable_layers import WritableLayers
from sandboxes.runtime.docker.names import (
    CLAIM,
    ONE_SHOT,
    SANDBOX,
    SERVICE,
    Names,
    is_previous,
    label,
)
from sandboxes.runtime.docker.networks import BRIDGE_OPTION
from sandboxes.runtime.docker.volumes import engine_sizes, is_shared, mount_points

Row = dict[str, Any]
STATES = {
    "created": ServiceState.CREATED,
    "running": ServiceState.RUNNING,
    "paused": ServiceState.PAUSED,
    "restarting": ServiceState.RESTARTING,
}
SUCCEEDED = "Exited (0) "
"""Beginning of the status of a container that ended without an error."""
UP = (ServiceState.RUNNING, ServiceState.PAUSED)
"""States in which a container has an address."""
SIZES_TIMEOUT_FACTOR = 6
"""To report sizes, the engine walks through all files that the containers wrote."""


@dataclass
class EngineObjects:
    """The engine objects of one sandbox, as in the engine's lists."""

    containers: list[Row] = field(default_factory=list)
    previous: list[Row] = field(default_factory=list)
    """Containers that are kept until their replacements are ready."""
    networks: list[Row] = field(default_factory=list)
    volumes: list[Row] = field(default_factory=list)

    @property
    def created_at(self) -> datetime:
        containers = (*self.containers, *self.previous)
        times = [datetime.fromtimestamp(row["Created"], UTC) for row in containers]
        times += [parse_time(row["Created"]) for row in self.networks]
        times += [parse_time(row["CreatedAt"]) for row in self.volumes]
        return min(times)

    @property
    def size_mb(self) -> float:
        """Length of all files in MB, if the engine was asked for sizes."""
        return sum(row.get("SizeRw") or 0 for row in self.containers) / MB

    @property
    def network_ids(self) -> set[str]:
        return {row["Id"] for row in self.networks}

    @property
    def claim(self) -> str:
        return next((mark for row in self.volumes if (mark := label(row, CLAIM))), "")

    @property
    def bridge(self) -> str:
        options = [row.get("Options") or {} for row in self.networks]
        return next((name for one in options if (name := one.get(BRIDGE_OPTION))), "")

    @property
    def bridge_bytes(self) -> NetworkBytes | None:
        """Traffic of its bridge, from the kernel or else the socket proxy; None if unknown."""
        return bridge_bytes(self.bridge) or next(
            filter(None, map(proxied_bytes, self.networks)), None
        )


@dataclass(frozen=True)
class Observer:
    """Observes the sandboxes of one instance. Their ports are shown at `public_host`."""

    engine: EngineClient
    names: Names
    public_host: str
    layers: WritableLayers

    def services(self, sandbox_id: str) -> dict[str, ServiceFacts]:
        """Return one sandbox's services, with one call if all run, without their networks.

        Raises EngineUnreachable.
        """
        with self.engine.calling("list the sandbox's containers") as client:
            rows = client.containers(all=True, filters=self.names.filters(sandbox_id))
        found = EngineObjects([row for row in rows if not is_previous(row)])
        return self._services(found, self._exits([found]))

    def observe(
        self, sandbox_id: str | None = None, *, sizes: bool = False
    ) -> dict[str, SandboxFacts]:
        """Return all sandboxes, or one, by ID. Raises EngineUnreachable."""
        local = sizes and self.layers.are_readable
        found = self._list_objects(self.names.filters(sandbox_id), sizes and not local)
        usage = self._disk_usage(found) if local else {}
        disk_mb = {name: one.megabytes for name, one in usage.items()}
        if sizes and not local:
            disk_mb = self._sizes_by_engine(found)
        exits = self._exits(found.values())
        bridges = {name: one.bridge_bytes for name, one in found.items()}
        traffic_by_sandbox = self._traffic(found, bridges)
        services = {name: self._services(one, exits) for name, one in found.items()}
        return {
            name: SandboxFacts(
                id=name,
                services=services[name],
                created_at=one.created_at,
                traffic_bytes=traffic_by_sandbox.get(name),
                network=bridges[name],
                neighbors=sum(1 for service in services[name].values() if service.ports),
                disk_mb=disk_mb.get(name),
                files=usage[name].files if name in usage else None,
                claim=one.claim,
            )
            for name, one in found.items()
        }

    def _disk_usage(self, found: Mapping[str, EngineObjects]) -> dict[str, DiskUsage]:
        ids = {name: [row["Id"] for row in one.containers] for name, one in found.items()}
        volumes = {name: mount_points(one.volumes) for name, one in found.items()}
        return self.layers.measure({name: own for name, own in ids.items() if own}, volumes)

    def _sizes_by_engine(self, found: Mapping[str, EngineObjects]) -> dict[str, float]:
        shared = {
            name: [row["Name"] for row in one.volumes if is_shared(row)]
            for name, one in found.items()
        }
        sizes = engine_sizes(self.engine) if any(shared.values()) else {}
        return {
            name: one.size_mb + sum(sizes.get(volume, 0) for volume in shared[name]) / MB
            for name, one in found.items()
        }

    def _list_objects(self, filters: dict[str, list[str]], sizes: bool) -> dict[str, EngineObjects]:
        found: dict[str, EngineObjects] = defaultdict(EngineObjects)
        # The fast calls first, so that an engine that hangs is detected early.
        with self.engine.calling("list the sandboxes") as client:
            for row in client.networks(filters=filters):
                found[label(row, SANDBOX)].networks.append(row)
            for row in client.volumes(filters=filters)["Volumes"] or ():
                found[label(row, SANDBOX)].volumes.append(row)
        timeout_factor = SIZES_TIMEOUT_FACTOR if sizes else 1
        with self.engine.calling("list the sandboxes", timeout_factor=timeout_factor) as client:
            for row in client.containers(all=True, size=sizes, filters=filters):
                one = found[label(row, SANDBOX)]
                (one.previous if is_previous(row) else one.containers).append(row)
        return found

    def _services(self, found: EngineObjects, exits: dict[str, Row]) -> dict[str, ServiceFacts]:
        return {
            label(row, SERVICE): self._service(row, exits.get(row["Id"], {}), found.network_ids)
            for row in found.containers
            if label(row, SERVICE)
        }

    def _service(self, row: Row, end: Row, network_ids: Collection[str]) -> ServiceFacts:
        return ServiceFacts(
            state=service_state(row),
            ports=self._ports(row) if service_state(row) in UP else {},
            connected=service_state(row) not in UP or is_connected(row, network_ids),
            exit_code=0 if service_state(row) is ServiceState.COMPLETED else end.get("ExitCode"),
            out_of_memory=bool(end.get("OOMKilled")),
            stopped_with_engine=bool(end.get("StoppedWithEngine")),
        )

    def _ports(self, row: Row) -> dict[int, Published]:
        return {
            port["PrivatePort"]: Published(self.public_host, port["PublicPort"])
            for port in row.get("Ports") or ()
            if port.get("PublicPort")
        }

    def _exits(self, found: Iterable[EngineObjects]) -> dict[str, Row]:
        """Return why containers stopped, by container ID, except those that are gone by now."""
        stopped = [row for one in found for row in one.containers if service_state(row) == "exited"]
        if not stopped:
            return {}
        started = self._engine_started()
        states = run_parallel([partial(self._exit, row["Id"]) for row in stopped])
        for end in states:
            end["StoppedWithEngine"] = bool(
                started and end and parse_time(end["FinishedAt"]) < started
            )
        return dict(zip([row["Id"] for row in stopped], states, strict=True))

    def _exit(self, container_id: str) -> Row:
        with self.engine.calling("report why a container stopped") as client:
            try:
                return dict(client.inspect_container(container_id)["State"])
            except APIError as error:
                if is_gone(error):
                    return {}
                raise

    def _engine_started(self) -> datetime | None:
        """Return when the engine started: it recreates its network `bridge` each time."""
        with self.engine.calling("list the networks") as client:
            rows = client.networks(filters={"type": "builtin", "driver": "bridge"})
        return max((parse_time(row["Created"]) for row in rows), default=None)

    def read_bridge(self, sandbox_id: str) -> int | None:
        """Return the traffic of one sandbox without an engine call; None if it isn't local."""
        traffic = bridge_bytes(self.names.bridge(sandbox_id))
        return traffic.activity_bytes if traffic else None

    def traffic(self, sandbox_ids: Iterable[str]) -> dict[str, int]:
        """Return the traffic of these sandboxes, as the socket proxy or the engine measures it.

        Raises EngineUnreachable.
        """
        found = {name: EngineObjects() for name in sandbox_ids}
        if not found:
            return {}
        with self.engine.calling("list the networks") as client:
            for row in client.networks(filters=self.names.filters()):
                if one := found.get(label(row, SANDBOX)):
                    one.networks.append(row)
        bridges = {name: one.bridge_bytes for name, one in found.items()}
        if all(bridges.values()):
            return self._traffic(found, bridges)
        with self.engine.calling("list the containers") as client:
            for row in client.containers(filters=self.names.filters()):
                if one := found.get(label(row, SANDBOX)):
                    one.containers.append(row)
        return self._traffic(found, bridges)

    def _traffic(
        self, found: dict[str, EngineObjects], bridges: Mapping[str, NetworkBytes | None]
    ) -> dict[str, int]:
        """Return the traffic of each sandbox whose traffic can be read now."""
        here = {name: traffic for name, traffic in bridges.items() if traffic}
        away = [name for name in found if name not in here]
        asked = run_parallel(
            [partial(self._traffic_from_stats, found[name]) for name in away], CONNECTION_POOL_SIZE
        )
        return {name: traffic.activity_bytes for name, traffic in here.items()} | {
            name: sum(traffic.activity_bytes for traffic in traffic_by_sandbox)
            for name, traffic_by_sandbox in zip(away, asked, strict=True)
            if traffic_by_sandbox
        }

    def _traffic_from_stats(self, found: EngineObjects) -> list[NetworkBytes]:
        """Return traffic from the engine's statistics, for bridges on another machine."""
        public = [
            row for row in found.containers if service_state(row) == "running" and row.get("Ports")
        ]
        return [traffic for row in public for traffic in self._container_traffic(row["Id"])]

    def _container_traffic(self, container_id: str) -> list[NetworkBytes]:
        with self.engine.calling("measure a container's traffic") as client:
            try:
                return [
                    stats_network_bytes(client.stats(container_id, stream=False, one_shot=True))
                ]
            except APIError as error:
                if is_gone(error):
                    return []
                raise


def service_state(row: Row) -> ServiceState:
    """Return the state; stopped, dead and being removed all count as exited."""
    if row["State"] == "exited" and label(row, ONE_SHOT) and row["Status"].startswith(SUCCEEDED):
        return ServiceState.COMPLETED
    return STATES.get(row["State"], ServiceState.EXITED)


def is_connected(row: Row, network_ids: Collection[str]) -> bool:
    """Return whether the container has an address in one of these networks, and in no other."""
    endpoints = list(((row.get("NetworkSettings") or {}).get("Networks") or {}).values())
    return bool(endpoints) and all(
        endpoint["IPAddress"] and endpoint["NetworkID"] in network_ids for endpoint in endpoints
    )


def parse_time(text: str) -> datetime:
    """Parse a time of the engine, with up to nine digits of a second, as UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)
