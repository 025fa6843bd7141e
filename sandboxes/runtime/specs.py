"""What a runtime is asked to make: one sandbox, its services, and when it counts as ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ProcessSpec:
    """A service as a process of this machine. Its image is then a prepared directory.

    In the values of `environment`, `{port}` is the service's own first port and `{db:5432}` the
    address, host and port, of a service's port: there are no private networks, so every port is
    another one in every sandbox.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class ServiceSpec:
    """One service of a sandbox, every variable already filled in."""

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
    """Size of /dev/shm in MB; 0 leaves it to the runtime."""
    process: ProcessSpec | None = None
    """How it runs where there are no containers; None: only in a container."""


@dataclass(frozen=True)
class ReadyCheck:
    """The sandbox counts as ready when a GET of `path` on the port answers 200."""

    service: str
    port: int
    path: str


@dataclass(frozen=True)
class SandboxSpec:
    """All that a runtime needs to make one sandbox."""

    id: str
    """The public id (`sbx_…`); names of engine objects derive from it."""
    blueprint: str
    services: Sequence[ServiceSpec]
    ready: Sequence[ReadyCheck]
    disk_mb: int
    egress: bool = False
    """Whether the containers may reach other networks."""
