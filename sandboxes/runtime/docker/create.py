"""Network and containers get-or-create, side by side; whatever an earlier try left is taken up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from docker import APIClient
from docker.errors import APIError, NotFound

from sandboxes.runtime import EngineRefused, SandboxSpec, ServiceSpec
from sandboxes.runtime.docker.client import (
    EngineClient,
    error_message,
    run_parallel,
    wait_until_visible,
)
from sandboxes.runtime.docker.container_config import ContainerConfig, final_limits
from sandboxes.runtime.docker.destroy import ignore_gone, remove_container
from sandboxes.runtime.docker.disk_quota import DiskQuota
from sandboxes.runtime.docker.names import SERVICE, Names, label
from sandboxes.runtime.docker.networks import Networks

MIN_REDACTED_LENGTH = 6
"""Shorter values are no secrets; blotting them out would only garble the engine's words."""


@dataclass(frozen=True)
class Creator:
    """Makes and starts the containers of one portal's sandboxes."""

    engine: EngineClient
    names: Names
    networks: Networks
    container_config: ContainerConfig
    disk: DiskQuota

    def make(self, spec: SandboxSpec) -> list[str]:
        """The network and a container for every service; the ids of these, in their order.

        Raises ImageMissing, CapacityExhausted, EngineRefused, EngineUnreachable.
        """
        acts: list[Callable[[], str | None]] = [partial(self.networks.ensure, spec)]
        acts += [partial(self._make, spec, service) for service in spec.services]
        return [made for made in run_parallel(acts, at_once=len(acts)) if made]

    def start(self, spec: SandboxSpec, ids: Sequence[str]) -> None:
        """Start the containers that `make` gave; one that runs already goes on running.

        Raises CapacityExhausted, EngineRefused, EngineUnreachable.
        """
        starts = zip(spec.services, ids, strict=True)
        run_parallel([partial(self._start, spec, *start) for start in starts], at_once=len(ids))

    def apply_final_limits(self, spec: SandboxSpec, ids: Sequence[str]) -> None:
        """Take back the CPU that was lent. Raises EngineRefused, EngineUnreachable."""
        limits = zip(spec.services, ids, strict=True)
        run_parallel([partial(self._apply_final_limits, *one) for one in limits], at_once=len(ids))

    def _make(self, spec: SandboxSpec, service: ServiceSpec) -> str:
        self._check_image(service)
        config = self.container_config.config(spec, service, self.disk.options(spec, service))
        name, hidden = self.names.container(spec.id, service.name), secrets_of(service)
        to = f"make a container for the service {service.name}"
        with self.engine.calling(to, hide=hidden) as client:
            try:
                made = client.create_container_from_config(  # type: ignore[no-untyped-call]
                    config, name
                )
            except APIError as error:
                if "already in use" not in str(error.explanation):
                    raise
                return self._reuse_existing(spec, service)
        return str(made["Id"])

    def _check_image(self, service: ServiceSpec) -> None:
        """Raises EngineRefused for an image that would weaken a container's confinement."""
        with self.engine.calling(f"describe the image {service.image}") as client:
            image = client.inspect_image(service.image)["Config"]  # type: ignore[no-untyped-call]
        user = service.user or image.get("User") or "root"
        if user.partition(":")[0] in ("root", "0"):
            raise EngineRefused(
                f"The image {service.image} runs as root. Give it a USER, or the service "
                f"{service.name} a `user`, and try again."
            )
        if image.get("Volumes"):
            raise EngineRefused(
                f"The image {service.image} declares volumes, which would escape the limit on "
                "disk. Build it without VOLUME, and try again."
            )

    def _reuse_existing(self, spec: SandboxSpec, service: ServiceSpec) -> str:
        """The container that has the name already: ours, when an answer was lost, or a stranger."""
        name = self.names.container(spec.id, service.name)

        def of_that_name() -> list[dict[str, Any]]:
            with self.engine.calling("look at the sandbox's container") as client:
                try:
                    return [client.inspect_container(name)]
                except NotFound:
                    return []

        for found in wait_until_visible(of_that_name):
            config = found["Config"]
            if self.names.owns(config, spec.id) and label(config, SERVICE) == service.name:
                return str(found["Id"])
        raise EngineRefused(f"Another container, which is not this portal's, is called {name}.")

    def _start(self, spec: SandboxSpec, service: ServiceSpec, container_id: str) -> None:
        to = f"start the service {service.name}"
        with self.engine.calling(to, hide=secrets_of(service)) as client:
            try:
                client.start(container_id)
            except APIError as error:
                if not is_network_missing(error):
                    raise
                # It ran on a network that was removed, and would be started on no other.
                remove_container(self.engine, container_id)
                client.start(self._make(spec, service))

    def _apply_final_limits(self, service: ServiceSpec, container_id: str) -> None:
        with self.engine.calling(f"limit the service {service.name}") as client:
            ignore_gone(partial(update, client, container_id, final_limits(service)))


def update(client: APIClient, container_id: str, limits: dict[str, Any]) -> None:
    """Change a container's limits. The SDK's own call doesn't know all of them."""
    url = f"{client.base_url}/v{client.api_version}/containers/{container_id}/update"
    answer = client.post(url, json=limits, timeout=client.timeout)
    if not answer.ok:
        raise APIError(answer.text, response=answer, explanation=answer.text)


def is_network_missing(error: APIError) -> bool:
    """Whether a container was not started since its network is not there any more."""
    words = error_message(error)
    return words.startswith("network ") and words.endswith(" not found")


def secrets_of(service: ServiceSpec) -> list[str]:
    """What must not be said in a message about the service."""
    values = [*service.environment.values(), *service.command, *service.entrypoint]
    return [value for value in values if len(value) >= MIN_REDACTED_LENGTH]
