"""Creation of a network, then of its containers in parallel; existing ones are reused."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from docker import APIClient
from docker.errors import APIError, NotFound

from sandboxes.runtime import EngineRefused, HostPorts, PortTaken, SandboxSpec, ServiceSpec
from sandboxes.runtime.docker.client import (
    EngineClient,
    error_message,
    is_port_conflict,
    run_parallel,
    wait_until_visible,
)
from sandboxes.runtime.docker.containers import files
from sandboxes.runtime.docker.containers.container_config import (
    ContainerConfig,
    ContainerPlan,
    final_limits,
)
from sandboxes.runtime.docker.containers.destroy import (
    ignore_gone,
    remove_container,
    stop_container,
)
from sandboxes.runtime.docker.disk_quota import DiskQuota
from sandboxes.runtime.docker.names import SERVICE, Names, label
from sandboxes.runtime.docker.networks import Networks
from sandboxes.runtime.docker.volumes import SharedVolumes
from sandboxes.runtime.port_rotation import HOST_PORTS
from sandboxes.runtime.start_order import sort_by_dependencies

MAX_PORT_ATTEMPTS = 10
MIN_REDACTED_LENGTH = 6
"""Shorter values aren't secret; redacting them would only garble the engine's message."""


@dataclass(frozen=True)
class NewContainer:
    """A container to start; host ports of its `plan` must be its addresses."""

    id: str
    is_new: bool
    plan: ContainerPlan
    has_completed: bool = False
    """It is of a one-shot service and has ended without an error, so it stays stopped."""

    def can_change_ports(self) -> bool:
        """Return whether it may be created again: it has neither data nor an address in use."""
        return self.is_new and not self.plan.host_ports


@dataclass
class Creator:
    """Creates and starts the containers of one portal's sandboxes.

    `lends_cpu` until the engine refuses to change the limits of a running container: not every
    container runtime can; gVisor's has no such command.
    """

    engine: EngineClient
    names: Names
    networks: Networks
    container_config: ContainerConfig
    disk: DiskQuota
    volumes: SharedVolumes
    root_services: bool = False
    lends_cpu: bool = True

    def create_containers(
        self,
        spec: SandboxSpec,
        host_ports: HostPorts | None = None,
        taken_volumes: Collection[str] = (),
    ) -> list[NewContainer]:
        """Create the network and a container for every service; return the containers in order.

        Ports keep their `host_ports`, or else get those of the specification; shared volumes get
        other names than those that are taken. Raises ImageMissing, CapacityExhausted,
        EngineRefused, EngineUnreachable.
        """
        kept, names = host_ports or {}, self.names.volumes(spec, taken_volumes)
        images: dict[str, Mapping[str, Any]] = {}

        def check_image(service: ServiceSpec) -> None:
            images[service.name] = self._check_image(service)

        def create(services: Sequence[ServiceSpec]) -> list[tuple[str, NewContainer]]:
            plans = {
                one.name: ContainerPlan(kept.get(one.name, {}), names, images[one.name])
                for one in services
            }
            return [(s.name, self._create_container(spec, s, plans[s.name])) for s in services]

        preparations: list[Callable[[], None]] = [partial(self.networks.ensure, spec)]
        preparations += [partial(check_image, service) for service in spec.services]
        preparations += [partial(self.volumes.ensure, spec, names)] if names else []
        run_parallel(preparations, max_parallel=len(preparations))
        groups = created_together(spec.services)
        created = run_parallel([partial(create, group) for group in groups], len(groups))
        found = dict(one for group in created for one in group)
        return [found[service.name] for service in spec.services]

    def apply_final_limits(self, spec: SandboxSpec, ids: Mapping[str, str]) -> bool:
        """Take back the CPU lent for startup, except from one-shot services.

        Return False if services had to be restarted for it, so they aren't ready yet. Raises
        EngineRefused, EngineUnreachable.
        """
        limits = [(one, ids[one.name]) for one in spec.services if not one.one_shot]
        if self.lends_cpu:
            try:
                self._update_all(limits)
            except EngineRefused:
                if not self._enforces_cpu_limits():
                    raise
                # The container runtime can't do it while the containers run.
            else:
                return True
        limits = [one for one in limits if not self._has_final_limits(*one)]
        run_parallel([partial(self._restart_with_final_limits, *one) for one in limits])
        self.lends_cpu = False
        return not limits

    def _enforces_cpu_limits(self) -> bool:
        """Return whether containers have control groups; those of a rootless engine may not."""
        with self.engine.calling("describe itself") as client:
            info = client.info()
        return bool(info["CpuCfsQuota"]) and info.get("CgroupDriver") != "none"

    def _update_all(self, limits: Sequence[tuple[ServiceSpec, str]]) -> None:
        run_parallel(
            [partial(self._apply_final_limits, *one) for one in limits], max_parallel=len(limits)
        )

    def _has_final_limits(self, service: ServiceSpec, container_id: str) -> bool:
        with self.engine.calling(f"inspect the service {service.name}") as client:
            found = client.inspect_container(container_id)["HostConfig"]
        return all(found[name] == value for name, value in final_limits(service).items())

    def _restart_with_final_limits(self, service: ServiceSpec, container_id: str) -> None:
        stop_container(self.engine, container_id, service.stop_seconds)
        self._apply_final_limits(service, container_id)
        with self.engine.calling(f"restart the service {service.name}") as client:
            client.start(container_id)

    def _create_container(
        self, spec: SandboxSpec, service: ServiceSpec, plan: ContainerPlan
    ) -> NewContainer:
        chosen = choose_ports(spec, service)
        config = self.container_config.config(
            spec,
            service,
            self.disk.options(spec, service),
            replace(plan, host_ports=chosen | dict(plan.host_ports)),
        )
        if not self.lends_cpu:
            config["HostConfig"] |= final_limits(service)
        name, hidden = self.names.container(spec.id, service.name), secrets_of(service)
        action = f"create a container for the service {service.name}"
        with self.engine.calling(action, redact=hidden) as client:
            try:
                created = client.create_container_from_config(config, name)
                new = NewContainer(str(created["Id"]), True, plan)
            except APIError as error:
                if "already in use" not in str(error.explanation):
                    raise
                found = self._find_existing(spec, service)
                if found["State"]["Status"] != "created":
                    completed = has_completed(service, found)
                    return NewContainer(str(found["Id"]), False, plan, completed)
                new = NewContainer(str(found["Id"]), False, plan)
        self._put_files(service, new.id)
        return new

    def _put_files(self, service: ServiceSpec, container_id: str) -> None:
        """Write the service's files into a container that was never started."""
        if not service.files:
            return
        action = f"write the files of the service {service.name}"
        with self.engine.calling(action, redact=secrets_of(service)) as client:
            client.put_archive(container_id, "/", files.archive(service))

    def _check_image(self, service: ServiceSpec) -> Mapping[str, Any]:
        """Return the configuration of an image.

        Raises EngineRefused if it would weaken a container's confinement.
        """
        if service.root and not self.root_services:
            raise EngineRefused(
                f"The service {service.name} runs as the container's root, which isn't allowed "
                "here. An operator can allow it with SANDBOX_ROOT_SERVICES=true."
            )
        with self.engine.calling(f"describe the image {service.image}") as client:
            image: dict[str, Any] = client.inspect_image(service.image)["Config"]
        user = service.user or image.get("User") or "root"
        if not service.root and user.partition(":")[0] in ("root", "0"):
            raise EngineRefused(
                f"The image {service.image} runs as root. Add a USER to it or a "
                f"`user` to the service {service.name}, and try again."
            )
        if image.get("Volumes"):
            raise EngineRefused(
                f"The image {service.image} declares volumes, which would bypass the disk "
                "limit. Build it without VOLUME and try again."
            )
        return image

    def _find_existing(self, spec: SandboxSpec, service: ServiceSpec) -> dict[str, Any]:
        """Return the existing container of that name if it is ours, as after a lost response.

        Raises EngineRefused.
        """
        name = self.names.container(spec.id, service.name)

        def find_by_name() -> list[dict[str, Any]]:
            with self.engine.calling("inspect the sandbox's container") as client:
                try:
                    return [client.inspect_container(name)]
                except NotFound:
                    return []

        for found in wait_until_visible(find_by_name):
            config = found["Config"]
            if self.names.owns(config, spec.id) and label(config, SERVICE) == service.name:
                return found
        raise EngineRefused(f"A container of another program already has the name {name}.")

    def start(self, spec: SandboxSpec, service: ServiceSpec, container: NewContainer) -> str:
        """Start a container of `create_containers`; one that already runs keeps running.

        Returns its ID: if its host port is taken and wasn't reserved, it is created again with
        another. Raises PortTaken, CapacityExhausted, EngineRefused, EngineUnreachable.
        """
        action = f"start the service {service.name}"
        for attempt in range(1, MAX_PORT_ATTEMPTS + 1):
            port_taken = False
            with self.engine.calling(action, redact=secrets_of(service)) as client:
                try:
                    client.start(container.id)
                    break
                except APIError as error:
                    port_taken = container.can_change_ports() and is_port_conflict(error)
                    if attempt == MAX_PORT_ATTEMPTS or not (
                        port_taken or is_network_missing(error)
                    ):
                        raise
            # A container can't change to other ports, or to another network if its own was removed.
            remove_container(self.engine, container.id)
            if port_taken and service.name in spec.host_ports:
                raise PortTaken(service.name)
            container = self._create_container(spec, service, container.plan)
        return container.id

    def _apply_final_limits(self, service: ServiceSpec, container_id: str) -> None:
        with self.engine.calling(f"limit the service {service.name}") as client:
            ignore_gone(partial(update, client, container_id, final_limits(service)))


def update(client: APIClient, container_id: str, limits: dict[str, Any]) -> None:
    """Change a container's limits. The SDK's own method doesn't support all of them."""
    url = f"{client.base_url}/v{client.api_version}/containers/{container_id}/update"
    answer = client.post(url, json=limits, timeout=client.timeout)
    if not answer.ok:
        raise APIError(answer.text, response=answer, explanation=answer.text)


def choose_ports(spec: SandboxSpec, service: ServiceSpec) -> dict[int, int]:
    """Return the host port of each published port: the reserved one, or any, which may be taken."""
    free = random.sample(HOST_PORTS, len(service.ports))
    return dict(zip(service.ports, free, strict=True)) | dict(spec.host_ports.get(service.name, {}))


def created_together(services: Sequence[ServiceSpec]) -> list[list[ServiceSpec]]:
    """Group services: groups are created in parallel, the services of one group in order.

    An empty volume gets what the first image has at its mount point, as in Compose. Raises
    EngineRefused if services wait for each other.
    """
    alone = [[service] for service in services if not service.volumes]
    sharing = [service for service in services if service.volumes]
    return [*alone, sort_by_dependencies(sharing)] if sharing else alone


def has_completed(service: ServiceSpec, container: Mapping[str, Any]) -> bool:
    """Return whether the container is of a one-shot service that ended without an error."""
    state = container["State"]
    return service.one_shot and state["Status"] == "exited" and state["ExitCode"] == 0


def is_network_missing(error: APIError) -> bool:
    """Return whether a container failed to start because its network no longer exists."""
    message = error_message(error)
    return message.startswith("network ") and message.endswith(" not found")


def secrets_of(service: ServiceSpec) -> list[str]:
    """Return the values of a service that must not appear in messages."""
    values = [*service.environment.values(), *service.command, *service.entrypoint]
    values += service.healthcheck.command if service.healthcheck else ()
    values += [file.content for file in service.files.values()]
    return [value for value in values if len(value) >= MIN_REDACTED_LENGTH]
