"""An in-memory fake: sandboxes are entries of a dictionary, and tests control them.

It fulfils the contract (see `tests/runtime/test_contract.py`) and nothing more: ports are assigned,
but nothing listens there. The second half of the class is for tests and simulates failures of an
engine.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.utils import timezone

from sandboxes.runtime import (
    Capabilities,
    CapacityExhausted,
    CommandCheck,
    EngineConnection,
    EngineRefused,
    EngineUnreachable,
    HealthyCheck,
    ImageMissing,
    LineCount,
    NotReady,
    ProbeResult,
    Published,
    ReadyCheck,
    Repair,
    Report,
    RuntimeFailure,
    SandboxFacts,
    SandboxSpec,
    Saved,
    ServiceFacts,
    ServiceNotFound,
    ServiceSpec,
    ServiceState,
    Usage,
)
from sandboxes.runtime.host_resources import HostResources
from sandboxes.runtime.memory.fake_sandbox import FakeSandbox, FakeSavePoint
from sandboxes.runtime.readiness import require_running, timeout_error
from sandboxes.runtime.start_order import StartOrder

HOST = "127.0.0.1"
FIRST_PORT = 49152
MAX_OUTPUT_BYTES = 64 * 1024
MB = 1024 * 1024
PROBE_BYTES = 600
"""Traffic that a probe adds to a sandbox."""


def name_of(image: str) -> str:
    """Return the name of an image, given by its name or its id."""
    return image.partition("#")[0]


class MemoryRuntime:
    """The runtime contract without an engine, for up to `capacity` sandboxes."""

    def __init__(self, capacity: int = 4096) -> None:
        self.capacity = capacity
        self.unreachable = False
        self.slow_seconds = 0.0
        self.hard_disk_limit = False
        self.disk_free_mb = 60_000
        self.memory_available_mb: int | None = 12_000
        self.missing_images: set[str] = set()
        """Images missing on the engine."""
        self.rebuilds = Counter[str]()
        """How often each image was rebuilt; each rebuild changes its ID."""
        self.command_results: dict[tuple[str, ...], tuple[int, str]] = {}
        """Exit code and output of commands; all others succeed without output."""
        self.executed: list[tuple[str, str, tuple[str, ...]]] = []
        """Sandbox, service and command of every call of `execute`."""
        self.probed = Counter[str]()
        """How often each sandbox was probed."""
        self.recreated: list[str] = []
        """The sandbox of every successful call of `recreate`."""
        self._sandboxes: dict[str, FakeSandbox] = {}
        self._save_points: dict[str, FakeSavePoint] = {}
        self._failures: dict[str, list[BaseException]] = defaultdict(list)
        self._startup_failures: dict[str, tuple[int, str]] = {}
        self._ports = itertools.count(FIRST_PORT)
        self._lock = threading.RLock()

    @classmethod
    def from_settings(cls, *, engine: EngineConnection | None = None) -> MemoryRuntime:  # noqa: ARG003 - each has its own
        return cls()

    def create(self, spec: SandboxSpec, report: Report, timeout: float) -> SandboxFacts:
        with self._call("create"):
            if missing := self.missing_images.intersection(name_of(s.image) for s in spec.services):
                raise ImageMissing(f"The engine has no such image: {missing.pop()}.")
            if spec.save_point and spec.save_point not in self._save_points:
                raise ImageMissing(f"The engine has no such save point: {spec.save_point}.")
        report("network")
        with self._call("network"):
            if spec.id not in self._sandboxes and len(self._sandboxes) >= self.capacity:
                raise CapacityExhausted("All subnets for sandboxes are in use.")
            if spec.id not in self._sandboxes:
                self._sandboxes[spec.id] = FakeSandbox(spec.id, data=self._initial_data(spec))
            fake = self._sandboxes[spec.id]
        report("containers")
        self._start_in_order(fake, spec)
        report("ready")
        with self._call("ready"):
            if self.slow_seconds > timeout:
                raise NotReady(f"The sandbox did not answer within {timeout:g} seconds.")
            for name, facts in fake.services.items():
                require_running(name, facts)
            for check in spec.ready:
                self._require_success(spec, check, timeout)
            return fake.facts()

    def recreate(self, spec: SandboxSpec, report: Report, timeout: float) -> SandboxFacts:
        with self._call("recreate"):
            fake = self._sandboxes.setdefault(spec.id, FakeSandbox(spec.id))
            fake.previous = fake.services if fake.previous is None else fake.previous
            fake.services = {}
        try:
            self.create(spec, report, timeout)
        except EngineUnreachable:
            raise
        except RuntimeFailure:
            fake.services, fake.previous = fake.previous, None
            raise
        with self._call("discard"):
            self.recreated.append(spec.id)
            fake.previous, fake.disk_mb, fake.data = None, 0.0, self._initial_data(spec)
            return fake.facts()

    def save(self, spec: SandboxSpec, save_point: str) -> Saved:
        with self._call("save"):
            for service in spec.services:
                if self._service(spec.id, service.name).state is ServiceState.EXITED:
                    raise EngineRefused(f"The service {service.name} is not running.")
            fake = self._sandboxes[spec.id]
            self._save_points[save_point] = FakeSavePoint(fake.data, fake.disk_mb)
        with self._call("saved"):
            return Saved(int(fake.disk_mb * MB), self.slow_seconds)

    def save_points(self) -> dict[str, datetime]:
        with self._call("save_points"):
            return {name: one.created_at for name, one in self._save_points.items()}

    def remove_save_point(self, save_point: str) -> None:
        with self._call("remove_save_point"):
            self._save_points.pop(save_point, None)

    def observe(self, only: str = "", *, sizes: bool = False) -> dict[str, SandboxFacts]:
        with self._call("observe"):
            wanted = {name: fake for name, fake in self._sandboxes.items() if only in ("", name)}
            return {name: fake.facts(sizes=sizes) for name, fake in wanted.items()}

    def probe(
        self,
        observed: Iterable[SandboxFacts],
        checks: Mapping[str, Sequence[ReadyCheck]],  # noqa: ARG002
        seconds: float,  # noqa: ARG002
    ) -> dict[str, ProbeResult]:
        with self._call("probe"):
            present = [fake for facts in observed if (fake := self._sandboxes.get(facts.id))]
            for fake in present:
                fake.traffic_bytes += PROBE_BYTES
                self.probed[fake.id] += 1
            return {
                fake.id: replace(fake.probe, traffic_bytes=fake.traffic_bytes) for fake in present
            }

    def repair(self, spec: SandboxSpec, report: Report, timeout: float) -> Repair:  # noqa: ARG002
        report("network")
        with self._call("repair"):
            fake = self._sandboxes.get(spec.id)
            actions = []
            for service in spec.services:
                if fake is None or service.name not in fake.services:
                    raise ServiceNotFound(f"The service {service.name} is no longer on the engine.")
                report("containers")
                if self._restore(fake, spec, service):
                    actions.append(f"Started: {service.name}.")
                require_running(service.name, fake.services[service.name])
        assert fake
        if not fake.probe.responded:
            fake.probe = ProbeResult()
            actions.append("Restarted all services.")
        return Repair(fake.facts(), actions, fake.probe.problem)

    def destroy(self, sandbox_id: str) -> None:
        with self._call("destroy"):
            self._sandboxes.pop(sandbox_id, None)

    def mark_claimed(self, sandbox_id: str, claim: str) -> str:
        with self._call("mark_claimed"):
            fake = self._sandboxes.get(sandbox_id, FakeSandbox(sandbox_id))
            fake.claim = fake.claim or claim
            return fake.claim

    def execute(
        self, sandbox_id: str, service: str, command: Sequence[str], timeout: float
    ) -> tuple[int, str]:
        with self._call("execute"):
            if (fake := self._sandboxes.get(sandbox_id)) and fake.previous is not None:
                raise EngineRefused("The services are being recreated.")
            if self._service(sandbox_id, service).state is not ServiceState.RUNNING:
                raise EngineRefused(f"The service {service} is not running.")
            if self.slow_seconds > timeout:
                raise EngineRefused(f"The command did not end within {timeout:g} seconds.")
            self.executed.append((sandbox_id, service, tuple(command)))
            code, output = self.command_results.get(tuple(command), (0, ""))
            return code, output[-MAX_OUTPUT_BYTES:]

    def logs(self, sandbox_id: str, service: str, tail: int) -> str:
        with self._call("logs"):
            self._service(sandbox_id, service)
            lines = self._sandboxes[sandbox_id].logs[service]
            return "".join(f"{line}\n" for line in lines[max(0, len(lines) - tail) :])

    def count_lines(self, counts: Mapping[str, LineCount]) -> dict[str, LineCount]:
        with self._call("count_lines"):
            return {
                name: fake.carry_count(count)
                for name, count in counts.items()
                if (fake := self._sandboxes.get(name)) and count.service in fake.services
            }

    def usage(self, sandbox_ids: Sequence[str]) -> dict[str, Usage]:
        with self._call("usage"):
            fake = [self._sandboxes[name] for name in sandbox_ids if name in self._sandboxes]
            return {one.id: one.usage() for one in fake if one.facts().alive}

    def capabilities(self) -> Capabilities:
        with self._call("capabilities"):
            left = (self.disk_free_mb, len(self._sandboxes), self.memory_available_mb)
            space = HostResources(100_000, *left)
            return Capabilities("memory", "1", False, self.hard_disk_limit, 16 * 1024, space)

    def images(self, names: Sequence[str]) -> dict[str, str]:
        with self._call("images"):
            held = [name for name in names if not {name, name_of(name)} & self.missing_images]
            return {name: name if "#" in name else f"{name}#{self.rebuilds[name]}" for name in held}

    # For tests.

    def fail_next(self, operation: str, error: BaseException) -> None:
        """Make the next call of a method, or the next step of `create`, raise this error.

        Objects created before the failing step remain. KeyboardInterrupt simulates a kill.
        """
        self._failures[operation].append(error)

    def fail_startup(self, service: str, exit_code: int, output: str = "") -> None:
        """Make the service of that name exit as soon as it is started."""
        self._startup_failures[service] = (exit_code, output)

    def stop_service(
        self, sandbox_id: str, service: str, code: int = 1, *, oom: bool = False
    ) -> None:
        """Stop a service as if it had exited on its own."""
        with self._lock:
            end = ServiceFacts(ServiceState.EXITED, exit_code=code, out_of_memory=oom)
            self._end(sandbox_id, service, end)

    def change_service(self, sandbox_id: str, service: str, **facts: Any) -> None:
        """Change what is observed of a service, such as `state`, `connected` or `ports`."""
        with self._lock:
            services = self._sandboxes[sandbox_id].services
            services[service] = replace(services[service], **facts)

    def break_ports(self, sandbox_id: str, problem: str, *, responded: bool = False) -> None:
        """Let probes find this problem; an empty one ends it."""
        self._sandboxes[sandbox_id].probe = ProbeResult(problem, "api", responded or not problem)

    def restart_engine(self) -> None:
        """Stop all services together with the engine, and start counting traffic at 0."""
        end = ServiceFacts(ServiceState.EXITED, exit_code=137, stopped_with_engine=True)
        with self._lock:
            for name, fake in self._sandboxes.items():
                fake.traffic_bytes = 0
                for service, facts in fake.services.items():
                    if facts.state is not ServiceState.COMPLETED:
                        self._end(name, service, end)

    def add_traffic(self, sandbox_id: str, sent: int = 1000) -> None:
        """Simulate requests: count this many bytes sent by published ports."""
        self._sandboxes[sandbox_id].traffic_bytes += sent

    def set_neighbors(self, sandbox_id: str, number: int) -> None:
        """Set how many addresses of the sandbox the host verifies."""
        self._sandboxes[sandbox_id].neighbors = number

    def set_disk_usage(self, sandbox_id: str, disk_mb: float) -> None:
        """Set the disk usage of a sandbox, in MB."""
        self._sandboxes[sandbox_id].disk_mb = disk_mb

    def write_data(self, sandbox_id: str, data: str) -> None:
        """Replace what the services of a sandbox have stored."""
        self._sandboxes[sandbox_id].data = data

    def read_data(self, sandbox_id: str) -> str:
        return self._sandboxes[sandbox_id].data

    def add_save_point(self, save_point: str, created_at: datetime | None = None) -> None:
        """Add a save point that isn't in the database."""
        self._save_points[save_point] = FakeSavePoint("", 0.0, created_at or timezone.now())

    def write_log(self, sandbox_id: str, service: str, line: str) -> None:
        """Append a line to the log of a service."""
        self._sandboxes[sandbox_id].logs[service].append(line)

    def remove_externally(self, sandbox_id: str) -> None:
        """Remove a sandbox without the portal, as an operator would on the engine."""
        self._sandboxes.pop(sandbox_id, None)

    def remove_service(self, sandbox_id: str, service: str) -> None:
        """Remove one service without the portal."""
        del self._sandboxes[sandbox_id].services[service]

    def add_orphan(self, sandbox_id: str, created_at: datetime | None = None) -> None:
        """Add an object with our labels that isn't in the database: a single network."""
        self._sandboxes[sandbox_id] = FakeSandbox(sandbox_id, created_at or timezone.now())

    @contextmanager
    def _call(self, operation: str) -> Iterator[None]:
        time.sleep(self.slow_seconds)
        with self._lock:
            if self.unreachable:
                raise EngineUnreachable("The engine did not answer.")
            if self._failures[operation]:
                raise self._failures[operation].pop(0)
            yield

    def _initial_data(self, spec: SandboxSpec) -> str:
        return self._save_points[spec.save_point].data if spec.save_point else ""

    def _restore(self, fake: FakeSandbox, spec: SandboxSpec, service: ServiceSpec) -> bool:
        """Make a service run again, connected and published; return whether it had to be."""
        present = fake.services[service.name]
        if present.state is ServiceState.COMPLETED:
            return False
        runs = present.state is ServiceState.RUNNING and present.connected
        if runs and set(present.ports) == set(service.ports):
            return False
        del fake.services[service.name]
        self._start(fake, spec, service)
        return True

    def _start_in_order(self, fake: FakeSandbox, spec: SandboxSpec) -> None:
        order = StartOrder(spec.services)
        while True:
            while batch := order.take_startable():
                for service in batch:
                    with self._call("containers"):
                        self._start(fake, spec, service)
                    if spec.save_point and service.rekey:
                        self._rekey(spec, service)
                order.mark_started(batch)
            if not (awaited := order.awaited()):
                return
            for check in awaited:
                require_running(check.service, fake.services[check.service])
                if isinstance(check, HealthyCheck):
                    self._require_success(spec, check, 0)
                order.mark_held(check)

    def _rekey(self, spec: SandboxSpec, service: ServiceSpec) -> None:
        with self._call("rekey"):
            self.executed.append((spec.id, service.name, tuple(service.rekey)))
            self._require_success(spec, CommandCheck(service.name, service.rekey), 0)

    def _require_success(self, spec: SandboxSpec, check: ReadyCheck, seconds: float) -> None:
        """Raise NotReady if the command of a check has a result other than 0."""
        health = {service.name: service.healthcheck for service in spec.services}
        source = health[check.service] if isinstance(check, HealthyCheck) else check
        command = getattr(source, "command", ())
        code, output = self.command_results.get(tuple(command), (0, ""))
        if code:
            raise timeout_error(check, seconds, output)

    def _start(self, fake: FakeSandbox, spec: SandboxSpec, service: ServiceSpec) -> None:
        present = fake.services.get(service.name)
        if present and present.state in (ServiceState.RUNNING, ServiceState.COMPLETED):
            return
        previous = (fake.previous or {}).get(service.name)
        reserved = spec.host_ports.get(service.name, {})
        known = {port: Published(HOST, number) for port, number in reserved.items()}
        known |= previous.ports if previous else {}
        ports = {
            port: known.get(port) or Published(HOST, next(self._ports)) for port in service.ports
        }
        ended = ServiceFacts(ServiceState.COMPLETED, exit_code=0)
        running = ServiceFacts(ServiceState.RUNNING, ports)
        fake.services[service.name] = ended if service.one_shot else running
        fake.logs[service.name].append(f"{service.name} started")
        if service.name in self._startup_failures:
            code, output = self._startup_failures.pop(service.name)
            fake.services[service.name] = ServiceFacts(ServiceState.EXITED, exit_code=code)
            fake.logs[service.name].append(output)

    def _service(self, sandbox_id: str, service: str) -> ServiceFacts:
        if (fake := self._sandboxes.get(sandbox_id)) and service in fake.services:
            return fake.services[service]
        raise ServiceNotFound(f"The sandbox has no service {service}, or it was removed.")

    def _end(self, sandbox_id: str, service: str, end: ServiceFacts) -> None:
        self._service(sandbox_id, service)
        self._sandboxes[sandbox_id].services[service] = end
