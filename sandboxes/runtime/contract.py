"""The contract of a runtime: what it observes, and what it can be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from sandboxes.runtime.host_resources import HostResources
from sandboxes.runtime.line_count import LineCount
from sandboxes.runtime.specs import SandboxSpec


class ServiceState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True)
class Published:
    """Where a container port can be reached from outside."""

    host: str
    port: int


@dataclass(frozen=True)
class ServiceFacts:
    """What was observed of one service."""

    state: ServiceState
    ports: Mapping[int, Published] = field(default_factory=dict)
    exit_code: int | None = None
    out_of_memory: bool = False
    stopped_with_engine: bool = False
    """It stopped because its engine did, by no fault of its own; `create` starts it again."""


@dataclass(frozen=True)
class SandboxFacts:
    """What was observed of one sandbox: its services, and when its oldest object was made."""

    id: str
    services: Mapping[str, ServiceFacts]
    created_at: datetime
    """Of the oldest engine object that bears the sandbox's label (UTC)."""
    traffic_bytes: int | None = None
    """Bytes sent to callers of its published ports so far, anew after a restart of the engine;
    None: not measurable now."""
    disk_mb: float | None = None
    """What it has written so far, in MB; None: not measured in this observation."""

    @property
    def alive(self) -> bool:
        states = {service.state for service in self.services.values()}
        return states == {ServiceState.RUNNING}


@dataclass(frozen=True)
class Usage:
    """Consumption of one sandbox, all services together, at one moment."""

    memory_mb: float
    cpu_seconds: float
    """CPU time since launch; the difference of two samples over their distance is the load."""
    received_bytes: int
    sent_bytes: int
    disk_mb: float | None = None


@dataclass(frozen=True)
class Capabilities:
    """What this runtime can enforce, for the card, the admin and the system checks."""

    name: str
    version: str
    isolated: bool
    hard_disk_limit: bool
    """True: the engine refuses writes over the limit. False: measured, and ended when over."""
    memory_mb: int
    """Memory of the machine that runs the sandboxes, in MB."""
    space: HostResources = field(default_factory=HostResources)


Report = Callable[[str], None]
"""Called with the name of the step that goes on now; called again while a step waits."""


class Runtime(Protocol):
    """What every runtime does; `tests/runtime/test_contract.py` holds each of them to it."""

    def create(self, spec: SandboxSpec, report: Report, timeout: float) -> SandboxFacts:
        """Make and start the sandbox, or what is still missing of it, and wait until it is ready.

        Steps reported, in order: `network`, `containers`, `ready`. `timeout` is in seconds, for all
        of it. Raises NotReady, ImageMissing, CapacityExhausted, EngineRefused, EngineUnreachable.
        Removes nothing after a failure: the logs of what failed must stay readable.
        """
        ...

    def observe(self, only: str = "", *, sizes: bool = False) -> dict[str, SandboxFacts]:
        """All sandboxes of this instance that the engine holds any object of, by id; or `only` one.

        Makes a number of engine calls that does not grow with the sandboxes. `sizes` also measures
        `disk_mb`, which takes the engine longer. Raises EngineUnreachable."""
        ...

    def destroy(self, sandbox_id: str) -> None:
        """Remove every object of the sandbox: containers, then networks, then volumes.

        Returns when nothing of it is left; what is not there is no error.
        Raises EngineUnreachable, EngineRefused.
        """
        ...

    def execute(
        self, sandbox_id: str, service: str, command: Sequence[str], timeout: float
    ) -> tuple[int, str]:
        """Run a command inside a service; its exit code and its output (at most 64 KB, the end).

        Raises ServiceNotFound, EngineRefused, EngineUnreachable.
        """
        ...

    def logs(self, sandbox_id: str, service: str, tail: int) -> str:
        """Return the last `tail` lines of the service's log.

        Raises ServiceNotFound, EngineUnreachable.
        """
        ...

    def count_lines(self, counts: Mapping[str, LineCount]) -> dict[str, LineCount]:
        """Each sandbox's count, carried on to the present end of the log: every line is counted
        once, as long as the log still holds it. Left out: those whose service is gone.
        Raises EngineUnreachable."""
        ...

    def usage(self, sandbox_ids: Sequence[str]) -> dict[str, Usage]:
        """Consumption of those of the sandboxes that run. Raises EngineUnreachable."""
        ...

    def capabilities(self) -> Capabilities:
        """What can be enforced here. Raises EngineUnreachable."""
        ...

    def images(self, names: Sequence[str]) -> dict[str, str]:
        """The engine's own id of each of these images, by name; one that is built anew has a new
        one. Those that it does not hold are left out. One call. Raises EngineUnreachable."""
        ...
