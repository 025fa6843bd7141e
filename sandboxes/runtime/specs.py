"""Specification of a sandbox for a runtime: its services, and when it counts as ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ProcessSpec:
    """A service as a process of this machine; its image is then a template directory.

    In the values of `environment`, `{port}` is replaced by the service's first port, and
    `{db:5432}` by the host and port of another service's port. Processes have no private networks,
    so every port differs between sandboxes.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


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
    process: ProcessSpec | None = None
    """How to run the service without containers; None if it needs a container."""


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


ReadyCheck = HttpCheck | TcpCheck
"""What must succeed before a sandbox counts as ready. Its text completes “The service didn't …”."""


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
