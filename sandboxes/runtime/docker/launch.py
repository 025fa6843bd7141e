"""Containers get-or-create, started side by side; whatever an earlier try left is taken up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from docker.errors import APIError

from sandboxes.runtime import EngineRefused, SandboxSpec, ServiceSpec
from sandboxes.runtime.docker.containers import Clothes
from sandboxes.runtime.docker.disk import HardDisk
from sandboxes.runtime.docker.engine import Engine, together
from sandboxes.runtime.docker.names import SERVICE, Names, label
from sandboxes.runtime.docker.network import SandboxNetwork
from sandboxes.runtime.docker.removal import remove_container

SHORTEST_HIDDEN = 6
"""Shorter values are no secrets; blotting them out would only garble the engine's words."""


@dataclass(frozen=True)
class Launcher:
    """Makes and starts the containers of one portal's sandboxes."""

    engine: Engine
    names: Names
    clothes: Clothes
    disk: HardDisk

    def ensure(self, spec: SandboxSpec, network: SandboxNetwork) -> None:
        """Every service of the sandbox has a started container.

        Raises ImageMissing, NoRoom, EngineRefused, EngineUnreachable.
        """
        present = self._present(spec.id)
        if network.made:
            # Containers without their network can't be started any more.
            together([partial(remove_container, self.engine, row["Id"]) for row in present])
            present = []
        found = {label(row, SERVICE): row for row in present}
        acts = [partial(self._ensure, spec, s, network, found.get(s.name)) for s in spec.services]
        together(acts, at_once=len(acts))

    def _present(self, sandbox_id: str) -> list[dict[str, Any]]:
        with self.engine.asked("list the sandbox's containers") as client:
            rows: list[dict[str, Any]] = client.containers(
                all=True, filters=self.names.filters(sandbox_id)
            )
        return rows

    def _ensure(
        self,
        spec: SandboxSpec,
        service: ServiceSpec,
        network: SandboxNetwork,
        row: dict[str, Any] | None,
    ) -> None:
        if row is None:
            self._start(self._make(spec, service, network), service)
        elif row["State"] != "running":
            self._start(row["Id"], service)

    def _make(self, spec: SandboxSpec, service: ServiceSpec, network: SandboxNetwork) -> str:
        self._check_image(service)
        config = self.clothes.config(spec, service, network, self.disk.options(spec, service))
        name, hidden = self.names.container(spec.id, service.name), secrets_of(service)
        to = f"make a container for the service {service.name}"
        with self.engine.asked(to, hide=hidden) as client:
            try:
                made = client.create_container_from_config(  # type: ignore[no-untyped-call]
                    config, name
                )
            except APIError as error:
                if "already in use" not in str(error.explanation):
                    raise
                return self._adopt(spec, service)
        return str(made["Id"])

    def _check_image(self, service: ServiceSpec) -> None:
        """Raises EngineRefused for an image that would undo a container's clothes."""
        with self.engine.asked(f"describe the image {service.image}") as client:
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

    def _adopt(self, spec: SandboxSpec, service: ServiceSpec) -> str:
        """The container that has the name already: ours, when an answer was lost, or a stranger."""
        for row in self._present(spec.id):
            if label(row, SERVICE) == service.name:
                return str(row["Id"])
        name = self.names.container(spec.id, service.name)
        raise EngineRefused(f"Another container, which is not this portal's, is called {name}.")

    def _start(self, container_id: str, service: ServiceSpec) -> None:
        to = f"start the service {service.name}"
        with self.engine.asked(to, hide=secrets_of(service)) as client:
            client.start(container_id)


def secrets_of(service: ServiceSpec) -> list[str]:
    """What must not be said in a message about the service."""
    values = [*service.environment.values(), *service.command, *service.entrypoint]
    return [value for value in values if len(value) >= SHORTEST_HIDDEN]
