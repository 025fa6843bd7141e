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
    ulimits: Mapping[str, int] = field(default_factory=dict)
    shm_mb: int = 0
    """Size of /dev/shm in MB; 0 for the runtime's default."""
    process: ProcessSpec | None = None
    """How to run the service without containers; None if it needs a container."""


@dataclass(frozen=True)
class ReadyCheck:
    """The sandbox is ready when a GET request for `path` on this port returns 200."""

    service: str
    port: int
    path: str


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
