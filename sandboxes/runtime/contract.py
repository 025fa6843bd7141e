"""The contract of a runtime: its methods and the facts that they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from sandboxes.runtime.host_resources import HostResources, ProxyPolicy
from sandboxes.runtime.line_count import LineCount
from sandboxes.runtime.network_bytes import NetworkBytes
from sandboxes.runtime.specs import ReadyCheck, SandboxSpec


class ServiceState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    COMPLETED = "completed"
    """A one-shot service that ended with exit code 0, as it should."""


@dataclass(frozen=True)
class Published:
    """The address at which a container port can be reached from outside."""

    host: str
    port: int


@dataclass(frozen=True)
class ServiceFacts:
    """The observed facts about one service."""

    state: ServiceState
    ports: Mapping[int, Published] = field(default_factory=dict)
    exit_code: int | None = None
    out_of_memory: bool = False
    stopped_with_engine: bool = False
    """The service stopped because the engine did, without an error; `repair` starts it again."""
    connected: bool = True
    """The service has an address in its sandbox's network, and in no other; true if stopped."""


@dataclass(frozen=True)
class SandboxFacts:
    """The observed facts about one sandbox: its services and its age."""

    id: str
    services: Mapping[str, ServiceFacts]
    created_at: datetime
    """Creation time (UTC) of the oldest engine object that has the sandbox's label."""
    traffic_bytes: int | None = None
    """Bytes sent to callers of the published ports; None if unknown.

    Starts at 0 after a restart of the engine.
    """
    network: NetworkBytes | None = None
    """From which `traffic_bytes` follows; None if only that is known."""
    neighbors: int = 0
    """Containers whose addresses the host verifies some seconds after it has reached them."""
    disk_mb: float | None = None
    """Disk space in MB used by the sandbox's files; None if this observation didn't measure it."""
    files: int | None = None
    """Number of files and directories; None if this observation didn't count them."""

    claim: str = ""
    """The mark of `Runtime.mark_claimed`."""

    @property
    def alive(self) -> bool:
        """Whether all services run, except one-shot services that have completed."""
        states = {service.state for service in self.services.values()}
        return states - {ServiceState.COMPLETED} == {ServiceState.RUNNING}

    @property
    def connected(self) -> bool:
        return all(service.connected for service in self.services.values())


@dataclass(frozen=True)
class ProbeResult:
    """What a probe of one sandbox's published ports found."""

    problem: str = ""
    """A sentence about the first port that didn't respond as it should; empty if all did."""
    service: str = ""
    responded: bool = True
    """False if the port didn't respond at all; true if a ready check got another status than 200.
    """
    traffic_bytes: int | None = None
    """`SandboxFacts.traffic_bytes` right after the probe, so that the probe isn't activity."""


@dataclass(frozen=True)
class Repair:
    """The facts about a repaired sandbox, and sentences about what was done."""

    facts: SandboxFacts
    actions: Sequence[str] = ()
    problem: str = ""
    """What still fails, if the sandbox responds; empty if nothing does."""


@dataclass(frozen=True)
class Usage:
    """Resource usage of all services of one sandbox at one moment."""

    memory_mb: float
    cpu_seconds: float
    """CPU time since launch; the load is the difference of two samples divided by their interval.
    """
    received_bytes: int
    sent_bytes: int
    disk_mb: float | None = None


@dataclass(frozen=True)
class Capabilities:
    """The limits that a runtime can enforce, for pages, the admin and the system checks."""

    name: str
    version: str
    isolated: bool
    hard_disk_limit: bool
    """True if the engine rejects writes over the limit; False if usage is only measured."""
    memory_mb: int
    """Memory of the machine that runs the sandboxes, in MB."""
    resources: HostResources = field(default_factory=HostResources)
    engine_id: str = ""
    """What the engine calls itself; empty if it has no id."""
    architecture: str = ""
    """Of its machine, such as `x86_64`; empty if unknown."""
    proxy_policy: ProxyPolicy | None = None
    """None without a socket proxy in front of the engine."""
    certificate_expires_at: datetime | None = None
    """When the first certificate of the connection expires; None without TLS."""


@dataclass(frozen=True)
class Saved:
    """What `Runtime.save` has done."""

    size_bytes: int
    """Space that the save point takes, in addition to the images of the blueprint."""
    pause_seconds: float
    """How long the services were paused."""


Report = Callable[[str], None]
"""Called with the name of the current step, and again while a step waits."""


class Runtime(Protocol):
    """The methods of every runtime; `tests/runtime/test_contract.py` tests them."""

    def create(self, spec: SandboxSpec, report: Report, timeout: float) -> SandboxFacts:
        """Create and start the sandbox, or its missing parts, and wait until it is ready.

        Services start in parallel, except those that wait for others (`depends_on`). A one-shot
        service that has completed isn't started again.

        Reports the steps `network`, `containers` and `ready`, in this order. `timeout` is the total
        time limit in seconds. With a save point, services start with its data, and get the
        sandbox's own credentials by their `rekey` commands. Removes nothing after a failure, so the
        logs stay readable. Raises NotReady, ImageMissing, CapacityExhausted, EngineRefused,
        EngineUnreachable.
        """
        ...

    def recreate(self, spec: SandboxSpec, report: Report, timeout: float) -> SandboxFacts:
        """Replace all services by new ones from their images, with the same addresses.

        With a save point in the specification, they start with its data, as in `create`.

        The previous services are stopped, and kept until the new ones are ready. If one of these
        fails, the previous ones are started again and the error of `create` is raised. After
        EngineUnreachable or a kill at any point, `observe` returns the services as they are, and
        `execute` is refused until another call has completed or undone the replacement. Reports
        steps like `create`.
        """
        ...

    def save(self, spec: SandboxSpec, save_point: str) -> Saved:
        """Save the data of all services under this id, as of one moment.

        All services are paused together meanwhile. What an interrupted call left is replaced. No
        environment variable and no file in memory is saved. Raises ServiceNotFound, EngineRefused
        if a service doesn't run, EngineUnreachable.
        """
        ...

    def save_points(self) -> dict[str, datetime]:
        """Return the ids of all save points, also incomplete ones, with the time of their creation.

        Raises EngineUnreachable.
        """
        ...

    def remove_save_point(self, save_point: str) -> None:
        """Remove all that belongs to a save point. Missing objects aren't an error.

        Raises EngineRefused while a sandbox needs its data, EngineUnreachable.
        """
        ...

    def observe(self, only: str = "", *, sizes: bool = False) -> dict[str, SandboxFacts]:
        """Return the sandboxes of this instance that have any object on the engine, by id.

        `only` restricts the result to one sandbox. The number of engine calls doesn't grow with the
        number of sandboxes. `sizes` also measures `disk_mb` and, if possible, `files`, of as many
        sandboxes as there is time for. Raises EngineUnreachable.
        """
        ...

    def probe(
        self,
        observed: Iterable[SandboxFacts],
        checks: Mapping[str, Sequence[ReadyCheck]],
        seconds: float,
    ) -> dict[str, ProbeResult]:
        """Return whether the published ports of these sandboxes respond, by id.

        Sends the HTTP checks of each sandbox, and connects to its other ports, all in parallel;
        runs no commands. What hasn't responded after `seconds` counts as not responding. Raises
        EngineUnreachable.
        """
        ...

    def repair(self, spec: SandboxSpec, report: Report, timeout: float) -> Repair:
        """Make an existing sandbox reachable again, and keep its data and credentials.

        Resumes paused services, starts stopped ones in the order of `create`, connects them to
        their network, which is created again if it is gone, and restarts all of them if they still
        don't respond. Never creates a service, and never starts a one-shot service that has
        completed. Does nothing if all ports respond. A sandbox that responds, but whose ready check
        fails, isn't restarted: its data may be the cause.

        Reports steps as `create` does. Raises NotReady, ServiceNotFound if a service is gone,
        CapacityExhausted, EngineRefused, EngineUnreachable.
        """
        ...

    def destroy(self, sandbox_id: str) -> None:
        """Remove all objects of the sandbox: containers, then networks, then volumes.

        Returns when none is left. Missing objects aren't an error. Raises EngineUnreachable,
        EngineRefused.
        """
        ...

    def mark_claimed(self, sandbox_id: str, claim: str) -> str:
        """Mark the sandbox with this claim, unless it has a mark; return the mark that it has.

        A mark can't be changed, and is removed with the sandbox. It shows what a restored database
        doesn't know: that the sandbox was used. Raises EngineRefused, EngineUnreachable.
        """
        ...

    def execute(
        self, sandbox_id: str, service: str, command: Sequence[str], timeout: float
    ) -> tuple[int, str]:
        """Run a command in a service; return its exit code and the last 64 KB of its output.

        After the timeout, the command may keep running until its service is stopped. Raises
        ServiceNotFound, EngineRefused, EngineUnreachable.
        """
        ...

    def logs(self, sandbox_id: str, service: str, tail: int) -> str:
        """Return the last `tail` lines of the service's log.

        Raises ServiceNotFound, EngineUnreachable.
        """
        ...

    def count_lines(self, counts: Mapping[str, LineCount]) -> dict[str, LineCount]:
        """Return each sandbox's count, continued to the current end of the log.

        Every line is counted once, as long as the log still contains it. Sandboxes whose service is
        gone are omitted. Raises EngineUnreachable.
        """
        ...

    def usage(self, sandbox_ids: Sequence[str]) -> dict[str, Usage]:
        """Return the usage of the given sandboxes that are running. Raises EngineUnreachable."""
        ...

    def capabilities(self) -> Capabilities:
        """Return the limits that this runtime enforces. Raises EngineUnreachable."""
        ...

    def images(self, names: Sequence[str]) -> dict[str, str]:
        """Return the engine's ID of each of these images, by name, in one call.

        An ID is a name, too: `ServiceSpec.image` may be either.
        An image gets a new ID when it is rebuilt. Missing images are omitted. Raises
        EngineUnreachable.
        """
        ...
