"""Sandboxes as Docker containers. Only this package imports `docker`.

    network → containers → ready        create, each step get-or-create; the images are checked
                                        in parallel with the network
    containers → network → volumes      destroy, until a query finds none

Access to the engine's socket means root on its host: the worker and the reaper have access, the web
process never does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Network
from typing import Any

from django.conf import settings

from sandboxes.runtime import (
    Capabilities,
    EngineConnection,
    LineCount,
    ProbeResult,
    ReadyCheck,
    Repair,
    Report,
    SandboxFacts,
    SandboxSpec,
    Saved,
    Usage,
)
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.containers.container_config import ContainerConfig
from sandboxes.runtime.docker.containers.create import Creator
from sandboxes.runtime.docker.containers.destroy import Destroyer
from sandboxes.runtime.docker.containers.recreate import Recreator
from sandboxes.runtime.docker.containers.repair import Repairer
from sandboxes.runtime.docker.containers.save_points import SavePoints
from sandboxes.runtime.docker.containers.startup import START_STEP, Starter
from sandboxes.runtime.docker.disk_quota import DiskQuota
from sandboxes.runtime.docker.exec_and_logs import ExecAndLogs
from sandboxes.runtime.docker.measurements.kernel_counters import MB
from sandboxes.runtime.docker.measurements.usage import UsageReader
from sandboxes.runtime.docker.measurements.writable_layers import WritableLayers
from sandboxes.runtime.docker.names import (
    CLAIM,
    Names,
    full_name,
    label,
    names_of,
    require_valid_id,
)
from sandboxes.runtime.docker.networks import Networks
from sandboxes.runtime.docker.observe import Observer
from sandboxes.runtime.docker.readiness import ReadinessProbe, Timer
from sandboxes.runtime.docker.volumes import SharedVolumes
from sandboxes.runtime.host_resources import (
    HostResources,
    ProxyPolicy,
    available_memory,
    disk_space,
    from_socket_proxy,
)
from sandboxes.runtime.probing import probe_host

__all__ = ["DockerRuntime"]


class DockerRuntime:
    """The runtime contract on a Docker Engine (20.10 or later).

    `subnets` is divided into a /28 for each sandbox. With `root_services`, blueprints may have
    services that run as the container's root. `timeout` in seconds applies to each engine call.
    """

    def __init__(
        self,
        instance: str,
        subnets: IPv4Network,
        *,
        connection: EngineConnection = EngineConnection(),  # noqa: B008 - it is immutable
        container_runtime: str = "",
        root_services: bool = False,
        timeout: float = 10.0,
    ) -> None:
        engine = EngineClient(connection.address, timeout, connection.certificates)
        names, bind_address = Names(instance), connection.publish_address
        self._engine, self._names = engine, names
        container_config = ContainerConfig(names, bind_address, container_runtime)
        self._disk_quota = DiskQuota(engine, names, container_config)
        # Responses to other hosts need a default gateway; responses to the engine's host don't.
        block_default_route = ipaddress.ip_address(bind_address).is_loopback
        self._networks = networks = Networks(engine, names, subnets, block_default_route)
        self._volumes = SharedVolumes(engine, names)
        self._creator = Creator(
            engine,
            names,
            networks,
            container_config,
            self._disk_quota,
            self._volumes,
            root_services,
        )
        self._observer = Observer(
            engine, names, connection.public_host or bind_address, WritableLayers(engine)
        )
        self._readiness = ReadinessProbe(
            engine, self._observer, probe_host(bind_address, connection.address)
        )
        self._starter = Starter(self._creator, self._readiness)
        self._destroyer = Destroyer(engine, names)
        self._repairer = Repairer(
            engine, names, networks, self._observer, self._starter, self._destroyer
        )
        self._recreator = Recreator(engine, names, self._creator, self._starter, self._volumes)
        self._save_points = SavePoints(engine, names)
        self._exec_and_logs = ExecAndLogs(engine, names)
        self._usage_reader = UsageReader(engine, names)

    @classmethod
    def from_settings(
        cls, instance: str = "", *, engine: EngineConnection | None = None
    ) -> DockerRuntime:
        """Return the runtime of this portal, or of another instance beside it.

        `engine` is one that an operator added; by default, it is that of the environment.
        """
        return cls(
            instance or settings.SANDBOX_INSTANCE,
            settings.SANDBOX_SUBNETS,
            connection=engine
            or EngineConnection(
                settings.DOCKER_HOST, settings.SANDBOX_BIND_ADDRESS, settings.SANDBOX_PUBLIC_HOST
            ),
            container_runtime=settings.SANDBOX_CONTAINER_RUNTIME,
            root_services=settings.SANDBOX_ROOT_SERVICES,
            timeout=settings.SANDBOX_ENGINE_TIMEOUT_SECONDS,
        )

    def create(self, spec: SandboxSpec, report: Report, timeout: float) -> SandboxFacts:
        require_valid_id(spec.id)
        timer = Timer(timeout)
        spec = self._save_points.with_images(spec)
        report("network")
        containers = self._creator.create_containers(spec)
        report(START_STEP)
        return self._starter.start(spec, containers, report, timer)

    def recreate(self, spec: SandboxSpec, report: Report, timeout: float) -> SandboxFacts:
        require_valid_id(spec.id)
        spec = self._save_points.with_images(spec)
        return self._recreator.recreate(spec, report, Timer(timeout))

    def save(self, spec: SandboxSpec, save_point: str) -> Saved:
        return self._save_points.save(spec, save_point)

    def save_points(self) -> dict[str, datetime]:
        return self._save_points.list()

    def remove_save_point(self, save_point: str) -> None:
        self._save_points.remove(save_point)

    def observe(self, only: str = "", *, sizes: bool = False) -> dict[str, SandboxFacts]:
        return self._observer.observe(only or None, sizes=sizes)

    def probe(
        self,
        observed: Iterable[SandboxFacts],
        checks: Mapping[str, Sequence[ReadyCheck]],
        seconds: float,
    ) -> dict[str, ProbeResult]:
        return self._readiness.probe(observed, checks, seconds)

    def repair(self, spec: SandboxSpec, report: Report, timeout: float) -> Repair:
        require_valid_id(spec.id)
        return self._repairer.repair(spec, report, Timer(timeout))

    def destroy(self, sandbox_id: str) -> None:
        self._destroyer.destroy(sandbox_id)

    def mark_claimed(self, sandbox_id: str, claim: str) -> str:
        labels = self._names.claim_labels(require_valid_id(sandbox_id), claim)
        with self._engine.calling("mark a sandbox as claimed") as client:
            # The engine returns an existing volume of this name as it is.
            volume = client.create_volume(self._names.claim_mark(sandbox_id), labels=labels)
        return label(volume, CLAIM)

    def execute(
        self, sandbox_id: str, service: str, command: Sequence[str], timeout: float
    ) -> tuple[int, str]:
        return self._exec_and_logs.execute(sandbox_id, service, command, timeout)

    def logs(self, sandbox_id: str, service: str, tail: int) -> str:
        return self._exec_and_logs.logs(sandbox_id, service, tail)

    def count_lines(self, counts: Mapping[str, LineCount]) -> dict[str, LineCount]:
        return self._exec_and_logs.count_lines(counts)

    def usage(self, sandbox_ids: Sequence[str]) -> dict[str, Usage]:
        return self._usage_reader.read(sandbox_ids)

    def capabilities(self) -> Capabilities:
        with self._engine.calling("describe itself") as client:
            info = client.info()
        return Capabilities(
            name="docker",
            version=info["ServerVersion"],
            isolated=True,
            hard_disk_limit=self._disk_quota.is_enforced(),
            memory_mb=info["MemTotal"] // MB,
            resources=self._host_resources(info),
            engine_id=info.get("ID", ""),
            architecture=info.get("Architecture", ""),
            proxy_policy=ProxyPolicy.of(info.get("Host") or {}),
            certificate_expires_at=self._engine.certificate_expiry(),
        )

    def _host_resources(self, info: Mapping[str, Any]) -> HostResources:
        subnets_taken = self._networks.count_taken()
        # Known to the socket proxy, if there is one: a portal in a container can't read its host.
        host = info.get("Host")
        if host:
            return from_socket_proxy(host, subnets_taken)
        if not self._engine.is_local:
            return HostResources(subnets_taken=subnets_taken)
        return HostResources(*disk_space(info["DockerRootDir"]), subnets_taken, available_memory())

    def images(self, names: Sequence[str]) -> dict[str, str]:
        with self._engine.calling("list the images") as client:
            rows = client.images()
        ids = {name: row["Id"] for row in rows for name in names_of(row)}
        ids |= {row["Id"]: row["Id"] for row in rows}
        found = {name: ids.get(name) or ids.get(full_name(name)) for name in names}
        return {name: image_id for name, image_id in found.items() if image_id}
