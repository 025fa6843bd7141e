"""Specification of a sandbox for a runtime: its services, and when it counts as ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum


@dataclass(frozen=True)
class ProcessSpec:
    """A service as a process of this machine; its image is then a template directory.

    In the values of `environment`, `{port}` is replaced by the service's first port, and
    `{db:5432}` by the host and port of another service's port. Processes have no private networks,
    so every port differs between sandboxes.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    rekey: Sequence[str] = ()
    """Replaces `ServiceSpec.rekey`."""


class StartCondition(StrEnum):
    """What a service waits for, of another service, before it starts."""

    STARTED = "started"
    HEALTHY = "healthy"
    """Its health check succeeds."""
    COMPLETED = "completed"
    """It has ended with exit code 0."""


@dataclass(frozen=True)
class HealthCheck:
    """A command that succeeds in a healthy service, within `timeout` seconds.

    The portal runs it, and only while a sandbox starts.
    """

    command: Sequence[str] = field(repr=False)
    timeout: float = 30.0


SECRETS_DIRECTORY = "/run/secrets"


@dataclass(frozen=True)
class File:
    """A text file in a service, which belongs to root.

    Those below `SECRETS_DIRECTORY` are in memory only. The image needs `/bin/sh` for them, and each
    is limited to 60 KB.
    """

    content: str = field(repr=False)
    mode: int = 0o444


@dataclass(frozen=True)
class ServiceSpec:
    """One service of a sandbox, with all variables replaced."""

    name: str
    image: str
    memory_mb: int
    cpus: float
    pids: int
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: Sequence[str] = field(default=(), repr=False)
    entrypoint: Sequence[str] = field(default=(), repr=False)
    user: str = ""
    working_dir: str = ""
    ports: Sequence[int] = ()
    """Container ports to publish, each on a port of the configured address."""
    tmpfs: Mapping[str, int] = field(default_factory=dict)
    """Mount point to size in MB."""
    read_only: bool = False
    stop_signal: str = ""
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Name of a limit to its soft and its hard value."""
    shm_mb: int = 0
    """Size of /dev/shm in MB; 0 for the runtime's default."""
    hostname: str = ""
    """The container's own host name; the service's name if empty. Others don't resolve it."""
    aliases: Sequence[str] = ()
    """Further names that resolve to the service in the sandbox's network, besides its own."""
    stop_seconds: int = 5
    """Time to stop before the service is killed, where its data is kept."""
    depends_on: Mapping[str, StartCondition] = field(default_factory=dict)
    """Services for which this one waits before it starts; they have no cycles."""
    one_shot: bool = False
    """The service is expected to end with exit code 0. It isn't started again after that."""
    healthcheck: HealthCheck | None = None
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Mount point to the name of a volume that services of the sandbox share."""
    files: Mapping[str, File] = field(default_factory=dict)
    """Path to a file that exists when the service starts, in no `tmpfs` and no volume."""
    root: bool = False
    """The service may run as the container's root, with a few capabilities."""
    rekey: Sequence[str] = ()
    """The command that sets the sandbox's own credentials in the data of a save point."""
    process: ProcessSpec | None = None
    """How to run the service without containers; None if it needs a container."""

    @property
    def needs_container(self) -> bool:
        """Whether the service can't run as a process of this machine."""
        waits = any(one is not StartCondition.STARTED for one in self.depends_on.values())
        special = self.one_shot or self.volumes or self.files or self.root
        return self.process is None or waits or bool(special)

    @property
    def secret_files(self) -> dict[str, File]:
        """The files that are kept in memory only."""
        inside = f"{SECRETS_DIRECTORY}/"
        return {path: file for path, file in self.files.items() if path.startswith(inside)}

    @property
    def layer_files(self) -> dict[str, File]:
        """The files that are stored in the container's own layer."""
        secret = self.secret_files
        return {path: file for path, file in self.files.items() if path not in secret}

    @property
    def writes_to_layer(self) -> bool:
        """Whether the container's root file system is writable. It must be to put files there."""
        return not self.read_only or bool(self.files)


@dataclass(frozen=True)
class HttpCheck:
    """A GET request for `path` on a published port must return 200."""

    service: str
    port: int
    path: str

    def __str__(self) -> str:
        return f"answer GET {self.path} with 200"


@dataclass(frozen=True)
class TcpCheck:
    """A published port must accept connections."""

    service: str
    port: int

    def __str__(self) -> str:
        return f"accept connections on port {self.port}"


@dataclass(frozen=True)
class CommandCheck:
    """A command in a service must end with exit code 0."""

    service: str
    command: Sequence[str] = field(repr=False)

    def __str__(self) -> str:
        return "succeed in the command that checks whether it is ready"


@dataclass(frozen=True)
class HealthyCheck:
    """A service's health check must succeed."""

    service: str

    def __str__(self) -> str:
        return "become healthy"


ReadyCheck = HttpCheck | TcpCheck | CommandCheck | HealthyCheck
"""What must succeed before a sandbox counts as ready. Its text completes “The service didn't …”."""


def needs_containers(services: Sequence[ServiceSpec], ready: Sequence[ReadyCheck]) -> bool:
    """Return whether a sandbox can't run as processes of this machine."""
    commands = any(isinstance(check, CommandCheck | HealthyCheck) for check in ready)
    return commands or any(service.needs_container for service in services)


HostPorts = Mapping[str, Mapping[int, int]]
"""By service, the host port of each published port."""


@dataclass(frozen=True)
class SandboxSpec:
    """Everything that a runtime needs to create a sandbox."""

    id: str
    """The public ID (`sbx_…`), from which names of engine objects are derived."""
    blueprint: str
    services: Sequence[ServiceSpec]
    ready: Sequence[ReadyCheck]
    disk_mb: int
    egress: bool = False
    """Whether the containers may reach other networks."""

    @property
    def volumes(self) -> Sequence[str]:
        """Names of the shared volumes, sorted."""
        return sorted({name for service in self.services for name in service.volumes.values()})

    save_point: str = ""
    """The save point with whose data the services start; empty for that of their images."""
    host_ports: HostPorts = field(default_factory=dict)
    """The host ports that are reserved for it; ports without one get any free host port."""


def without_rekey(spec: SandboxSpec) -> SandboxSpec:
    """Return the specification of a sandbox whose credentials are in the data already."""
    services = [
        replace(each, rekey=(), process=each.process and replace(each.process, rekey=()))
        for each in spec.services
    ]
    return replace(spec, services=services)
