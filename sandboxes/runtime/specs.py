"""Specification of a sandbox for a runtime: its services, and when it counts as ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    """Container ports to publish, each on a free port of the configured address."""
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
    process: ProcessSpec | None = None
    """How to run the service without containers; None if it needs a container."""

    @property
    def needs_container(self) -> bool:
        """Whether the service can't run as a process of this machine."""
        waits = any(one is not StartCondition.STARTED for one in self.depends_on.values())
        return self.process is None or waits or self.one_shot


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
    number: int = 0
    """Counts all sandboxes of the portal; its ports follow from it. 0 for any free ports."""
