"""Which ports a sandbox gets, and what its record says of it."""

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
    SandboxSpec,
    ServiceSpec,
)
from sandboxes.runtime.process.environment import environment, free_user
from sandboxes.runtime.process.process_table import INSTANCE, SANDBOX
from sandboxes.runtime.process.proxy import OWN_ADDRESS
from sandboxes.runtime.process.state_dir import (
    Manifest,
    Port,
    SandboxDir,
    Service,
    StateDir,
)
from sandboxes.runtime.process.templates import TemplateStore

OPEN_FILES = 1024
# Below those that the kernel gives to programs that ask for any port.
DEFAULT_PORT_RANGE = range(20_000, 32_000)
MAX_ATTEMPTS = 200
PLACE = re.compile(r"\{(?:port|([a-z0-9_-]+):(\d+))\}")


@dataclass
class ReservedPorts:
    """Ports on which nobody else can listen until the block ends.

    The supervisor inherits the sockets, so that nobody takes a port before its service runs.
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
        """Return a port that is free and not in `taken`. Raises CapacityExhausted."""
        for port in among or random.sample(DEFAULT_PORT_RANGE, MAX_ATTEMPTS):
            if port not in taken and self.reserve(address, port):
                return port
        raise CapacityExhausted("The ports that sandboxes may use are all taken.")

    def release(self) -> None:
        while self.sockets:
            self.sockets.pop().close()


@dataclass(frozen=True)
class PortAllocator:
    """Gives out ports and users. `ports`: which may be published; empty: any that is free."""

    instance: str
    home: StateDir
    prepared: TemplateStore
    address: str
    ports: Sequence[int]

    def record(self, spec: SandboxSpec, reserved: ReservedPorts) -> tuple[SandboxDir, Manifest]:
        """The sandbox's directory and record, made if it has none; its ports are reserved.

        Raises EngineRefused, ImageMissing, CapacityExhausted.
        """
        folder = self.home.sandbox(spec.id)
        prepared = {service.name: self._prepared(spec, service) for service in spec.services}
        with self.home.lock():
            known = folder.record()
            if known and (folder.supervisor() is not None or _reserve(known, reserved)):
                return folder, known
            record = self._new(spec, folder, prepared, reserved)
            if known:
                # Others have taken its ports while it was down.
                record = replace(record, created_at=known.created_at, user=known.user)
            for path in (folder.path, folder.path / "logs", folder.path / "work"):
                path.mkdir(mode=0o711, exist_ok=True)
            folder.write_record(record)
        return folder, record

    def _prepared(self, spec: SandboxSpec, service: ServiceSpec) -> Path:
        if service.process is None:
            raise EngineRefused(
                f"The blueprint {spec.blueprint} does not say how its service {service.name} runs "
                "as a process (x-sandbox.process), so it can be launched on an engine only."
            )
        if (found := self.prepared.find(service.image)) is None:
            raise ImageMissing(f"Nothing is prepared for {service.image} to run as a process.")
        return found

    def _new(
        self,
        spec: SandboxSpec,
        folder: SandboxDir,
        prepared: Mapping[str, Path],
        reserved: ReservedPorts,
    ) -> Manifest:
        others = [one.record() for one in self.home.sandboxes().values()]
        known = [record for record in others if record]
        taken = {number for one in known for p in one.ports for number in (p.published, p.own)}
        ports = {service.name: self._ports(service, taken, reserved) for service in spec.services}
        return Manifest(
            instance=self.instance,
            sandbox=spec.id,
            created_at=datetime.now(UTC).isoformat(),
            address=self.address,
            disk_mb=spec.disk_mb,
            user=free_user(spec.id, {one.user for one in known if one.user is not None}),
            services=[
                self._service(spec, service, folder, prepared[service.name], ports)
                for service in spec.services
            ],
        )

    def _ports(self, service: ServiceSpec, taken: set[int], reserved: ReservedPorts) -> list[Port]:
        found = []
        for name in service.ports:
            published = reserved.reserve_any(self.address, self.ports, taken)
            not_own = taken | {published} | set(self.ports)
            own = reserved.reserve_any(OWN_ADDRESS, (), not_own)
            taken |= {published, own}
            found.append(Port(name, published, own))
        return found

    def _service(
        self,
        spec: SandboxSpec,
        service: ServiceSpec,
        folder: SandboxDir,
        prepared: Path,
        ports: Mapping[str, Sequence[Port]],
    ) -> Service:
        assert service.process
        own = {
            name: substitute_ports(v, service.name, ports)
            for name, v in service.process.environment.items()
        }
        marks = {INSTANCE: self.instance, SANDBOX: spec.id}
        around = environment(self.prepared.python, prepared, folder.work(service.name))
        return Service(
            name=service.name,
            command=self.prepared.python.words(service.process.command),
            environment=around | dict(service.environment) | own | marks,
            ports=ports[service.name],
            memory_mb=service.memory_mb,
            pids=service.pids,
            open_files=service.ulimits.get("nofile", OPEN_FILES),
            stop_signal=service.stop_signal or "SIGTERM",
        )


def substitute_ports(text: str, service: str, ports: Mapping[str, Sequence[Port]]) -> str:
    """The text with `{port}` and `{service:port}` filled in."""

    def place(match: re.Match[str]) -> str:
        if match[1] is None:
            return str(ports[service][0].own)
        own = next(port.own for port in ports[match[1]] if port.name == int(match[2]))
        return f"{OWN_ADDRESS}:{own}"

    return PLACE.sub(place, text)


def _reserve(record: Manifest, reserved: ReservedPorts) -> bool:
    """Reserve the ports of the record, or none if one is taken."""
    free = all(
        reserved.reserve(record.address, port.published) and reserved.reserve(OWN_ADDRESS, port.own)
        for port in record.ports
    )
    if not free:
        reserved.release()
    return free
