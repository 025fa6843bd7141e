"""Assignment of ports and users to sandboxes, and creation of their manifests."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from sandboxes.runtime import (
    CapacityExhausted,
    EngineRefused,
    ImageMissing,
    PortTaken,
    SandboxSpec,
    ServiceSpec,
)
from sandboxes.runtime.process.environment import environment, free_user
from sandboxes.runtime.process.process_table import INSTANCE, SANDBOX
from sandboxes.runtime.process.state_dir import (
    Manifest,
    Port,
    SandboxDir,
    Service,
    StateDir,
)
from sandboxes.runtime.process.supervisor.proxy import OWN_ADDRESS
from sandboxes.runtime.process.templates import TemplateStore

OPEN_FILES = 1024
# Below the kernel's range of ephemeral ports.
DEFAULT_PORT_RANGE = range(20_000, 32_000)
MAX_ATTEMPTS = 200
PORT_PLACEHOLDER = re.compile(r"\{(?:port|([a-z0-9_-]+):(\d+))\}")


@dataclass
class ReservedPorts:
    """Ports on which no other program can listen until the block ends.

    The supervisor inherits the sockets, so no port is taken before its service runs.
    """

    sockets: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> ReservedPorts:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def reserve(self, address: str, port: int) -> bool:
        """Return whether the port was free."""
        listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
            listener.listen()
        except OSError:
            listener.close()
            return False
        self.sockets.append(listener)
        return True

    def reserve_any(self, address: str, among: Iterable[int], taken: set[int]) -> int:
        """Return the first port that is free and not in `taken`. Raises CapacityExhausted."""
        for port in among:
            if port not in taken and self.reserve(address, port):
                return port
        raise CapacityExhausted("All ports for sandboxes are in use.")

    def release(self) -> None:
        while self.sockets:
            self.sockets.pop().close()


@dataclass(frozen=True)
class PortAllocator:
    """Assigns users and ports. Only `ports` are published, or any free port if it is empty."""

    instance: str
    home: StateDir
    templates: TemplateStore
    address: str
    ports: Sequence[int]

    def ensure_manifest(
        self, spec: SandboxSpec, reserved: ReservedPorts
    ) -> tuple[SandboxDir, Manifest]:
        """Return the sandbox's directory and manifest, created if missing; reserve its ports.

        Raises EngineRefused, ImageMissing, PortTaken, CapacityExhausted.
        """
        directory = self.home.sandbox(spec.id)
        template = {service.name: self._template(spec, service) for service in spec.services}
        with self.home.lock():
            known = directory.manifest()
            if known and (directory.supervisor() is not None or _reserve(known, reserved)):
                return directory, known
            manifest = self._new(spec, directory, template, reserved)
            if known:
                # Other programs took its ports while it was stopped.
                manifest = replace(manifest, created_at=known.created_at, user=known.user)
            directory.create(manifest.user)
            directory.write_manifest(manifest)
        return directory, manifest

    def renew_manifest(self, spec: SandboxSpec, known: Manifest) -> Manifest:
        """Return a manifest with the ports and the user of an earlier one, from the specification.

        New ports are assigned if the specification has others. Raises EngineRefused, ImageMissing,
        CapacityExhausted.
        """
        template = {service.name: self._template(spec, service) for service in spec.services}
        directory = self.home.sandbox(spec.id)
        ports = {service.name: service.ports for service in known.services}
        assigned = {name: [port.name for port in found] for name, found in ports.items()}
        if assigned != {service.name: list(service.ports) for service in spec.services}:
            with self.home.lock(), ReservedPorts() as reserved:
                manifest = self._new(spec, directory, template, reserved)
            return replace(manifest, created_at=known.created_at, user=known.user)
        services = [
            self._service(spec, service, directory, template[service.name], ports)
            for service in spec.services
        ]
        return replace(known, disk_mb=spec.disk_mb, services=services)

    def _template(self, spec: SandboxSpec, service: ServiceSpec) -> Path:
        if service.process is None:
            raise EngineRefused(
                f"The blueprint {spec.blueprint} doesn't define how its service {service.name} "
                "runs as a process (x-sandbox.process), so it needs an engine."
            )
        if (found := self.templates.find(service.image)) is None:
            raise ImageMissing(f"{service.image} isn't prepared to run as a process.")
        return found

    def _new(
        self,
        spec: SandboxSpec,
        directory: SandboxDir,
        template: Mapping[str, Path],
        reserved: ReservedPorts,
    ) -> Manifest:
        sandboxes = self.home.sandboxes().items()
        others = [one.manifest() for name, one in sandboxes if name != spec.id]
        known = [manifest for manifest in others if manifest]
        taken = {number for one in known for p in one.ports for number in (p.published, p.own)}
        ports = {
            service.name: self._ports(spec, service, taken, reserved) for service in spec.services
        }
        return Manifest(
            instance=self.instance,
            sandbox=spec.id,
            created_at=datetime.now(UTC).isoformat(),
            address=self.address,
            disk_mb=spec.disk_mb,
            user=free_user(spec.id, {one.user for one in known if one.user is not None}),
            services=[
                self._service(spec, service, directory, template[service.name], ports)
                for service in spec.services
            ],
        )

    def _ports(
        self,
        spec: SandboxSpec,
        service: ServiceSpec,
        taken: set[int],
        reserved: ReservedPorts,
    ) -> list[Port]:
        found = []
        for name in service.ports:
            published = self._publish(spec, service, name, taken, reserved)
            not_own = taken | {published} | set(self.ports)
            any_port = random.sample(DEFAULT_PORT_RANGE, MAX_ATTEMPTS)
            own = reserved.reserve_any(OWN_ADDRESS, any_port, not_own)
            taken |= {published, own}
            found.append(Port(name, published, own))
        return found

    def _publish(
        self,
        spec: SandboxSpec,
        service: ServiceSpec,
        port: int,
        taken: set[int],
        reserved: ReservedPorts,
    ) -> int:
        """Return the host port of a published port: the reserved one, or any free one.

        Raises PortTaken, CapacityExhausted.
        """
        own = spec.host_ports.get(service.name, {}).get(port)
        if own is None:
            among = self.ports or random.sample(DEFAULT_PORT_RANGE, MAX_ATTEMPTS)
            return reserved.reserve_any(self.address, among, taken)
        if own in taken or not reserved.reserve(self.address, own):
            raise PortTaken(service.name)
        return own

    def _service(
        self,
        spec: SandboxSpec,
        service: ServiceSpec,
        directory: SandboxDir,
        template: Path,
        ports: Mapping[str, Sequence[Port]],
    ) -> Service:
        assert service.process
        own = {
            name: substitute_ports(v, service.name, ports)
            for name, v in service.process.environment.items()
        }
        marks = {INSTANCE: self.instance, SANDBOX: spec.id}
        common = environment(self.templates.python, template, directory.work(service.name))
        return Service(
            name=service.name,
            command=self.templates.python.words(service.process.command),
            environment=common | dict(service.environment) | own | marks,
            ports=ports[service.name],
            memory_mb=service.memory_mb,
            pids=service.pids,
            open_files=service.ulimits.get("nofile", (OPEN_FILES, OPEN_FILES))[1],
            stop_signal=service.stop_signal or "SIGTERM",
        )


def substitute_ports(text: str, service: str, ports: Mapping[str, Sequence[Port]]) -> str:
    """Replace `{port}` and `{service:port}` in the text."""

    def substitute(match: re.Match[str]) -> str:
        if match[1] is None:
            return str(ports[service][0].own)
        own = next(port.own for port in ports[match[1]] if port.name == int(match[2]))
        return f"{OWN_ADDRESS}:{own}"

    return PORT_PLACEHOLDER.sub(substitute, text)


def _reserve(manifest: Manifest, reserved: ReservedPorts) -> bool:
    """Reserve all ports of the manifest; if one is taken, reserve none and return False."""
    free = all(
        reserved.reserve(manifest.address, port.published)
        and reserved.reserve(OWN_ADDRESS, port.own)
        for port in manifest.ports
    )
    if not free:
        reserved.release()
    return free
