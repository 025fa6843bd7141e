"""Waiting until a sandbox responds, and failing at once if it never will."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from sandboxes.runtime import (
    CommandCheck,
    EngineRefused,
    HealthyCheck,
    HttpCheck,
    ProbeResult,
    ReadyCheck,
    Report,
    SandboxFacts,
    SandboxSpec,
    ServiceFacts,
    ServiceNotFound,
    ServiceSpec,
    ServiceState,
    StartCondition,
    TcpCheck,
    probing,
)
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.exec_and_logs import run_command
from sandboxes.runtime.docker.listening import exposed_ports, listening_ports
from sandboxes.runtime.docker.observe import Observer
from sandboxes.runtime.readiness import require_running, succeeds, timeout_error
from sandboxes.runtime.start_order import Awaited, CompletedCheck

STEP = "ready"
MIN_PAUSE_SECONDS = 0.005
MAX_PAUSE_SECONDS = 0.1
BACKOFF_FACTOR = 1.1
"""Growth of the pause between two attempts."""
OBSERVE_INTERVAL_SECONDS = 0.2
REPORT_INTERVAL_SECONDS = 1.0
RESPONSE_TIMEOUT_SECONDS = 5.0
MIN_COMMAND_SECONDS, MAX_COMMAND_SECONDS = 1.0, 10.0
"""Time limits of a command that checks a service; the launch reports nothing meanwhile."""
LISTEN_SECONDS = 10.0
"""How long a healthy service may take to listen, before it counts as one that doesn't."""


class Timer:
    """Time limit of a launch, and the intervals of what is done while waiting."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ends = time.monotonic() + seconds
        self._last: dict[str, float] = {}

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.ends

    @property
    def left(self) -> float:
        """Seconds until the limit, never 0."""
        return max(0.01, self.ends - time.monotonic())

    def is_due(self, seconds: float, activity: str) -> bool:
        """Return whether `activity` was last done at least `seconds` ago, or never."""
        now = time.monotonic()
        if now - self._last.get(activity, float("-inf")) < seconds:
            return False
        self._last[activity] = now
        return True


@dataclass
class Watch:
    """The watch over a starting sandbox, between two attempts of a check.

    `ids` has the container of each service that was started so far. The watch reports `step` again,
    and ends with NotReady if the time is over or a service has stopped.
    """

    observer: Observer
    spec: SandboxSpec
    ids: Mapping[str, str]
    step: str
    report: Report
    timer: Timer
    services: Mapping[str, ServiceFacts] = field(default_factory=dict)
    """The services as they were last observed."""
    output: str = ""
    """What the last command printed that didn't succeed."""
    listen_until: dict[str, float] = field(default_factory=dict)
    """By service, how long a healthy one is given to listen."""

    def look(self, check: ReadyCheck | Awaited) -> None:
        """Raise NotReady if the check can't succeed any more, EngineUnreachable."""
        if self.timer.expired:
            raise timeout_error(check, self.timer.seconds, self.output)
        if self.timer.is_due(REPORT_INTERVAL_SECONDS, "report"):
            self.report(self.step)
        if self.timer.is_due(OBSERVE_INTERVAL_SECONDS, "look"):
            self.observe()

    def observe(self) -> None:
        """Raise NotReady if a service that was started has stopped, EngineUnreachable."""
        self.services = self.observer.services(self.spec.id)
        for name in self.ids:
            require_running(name, self.services.get(name))


@dataclass(frozen=True)
class ReadinessProbe:
    """Probes a starting sandbox at `probe_host`, where this process reaches published ports."""

    engine: EngineClient
    observer: Observer
    probe_host: str

    def until_ready(
        self, spec: SandboxSpec, ids: Mapping[str, str], report: Report, timer: Timer
    ) -> None:
        """Wait until every check succeeds. Raises NotReady, EngineUnreachable."""
        watch = Watch(self.observer, spec, ids, STEP, report, timer)
        watch.observe()
        for check in spec.ready:
            self.wait_for(check, watch)

    def wait_for(self, check: ReadyCheck, watch: Watch) -> None:
        """Wait until the check succeeds. Raises NotReady, EngineUnreachable."""
        pause = MIN_PAUSE_SECONDS
        while not self.succeeds(check, watch):
            watch.look(check)
            time.sleep(pause)
            pause = min(pause * BACKOFF_FACTOR, MAX_PAUSE_SECONDS)

    def succeeds(self, check: ReadyCheck | Awaited, watch: Watch) -> bool:
        """Return whether a check of a started service succeeds now. Raises EngineUnreachable."""
        match check:
            case HttpCheck() | TcpCheck():
                published = watch.services[check.service].ports.get(check.port)
                seconds = min(RESPONSE_TIMEOUT_SECONDS, watch.timer.left)
                look = partial(watch.look, check)
                return published is not None and succeeds(
                    check, self.probe_host, published.port, seconds, look
                )
            case CommandCheck():
                return self._command_succeeds(check.service, check.command, watch)
            case HealthyCheck():
                [service] = [one for one in watch.spec.services if one.name == check.service]
                health = service.healthcheck
                # Without a health check, a service that runs is as healthy as it can be.
                return health is None or (
                    self._command_succeeds(check.service, health.command, watch, health.timeout)
                    and (not is_called(service, watch.spec) or self._listens(check.service, watch))
                )
            case CompletedCheck():
                return watch.services[check.service].state is ServiceState.COMPLETED

    def _command_succeeds(
        self,
        service: str,
        command: Sequence[str],
        watch: Watch,
        seconds: float = MAX_COMMAND_SECONDS,
    ) -> bool:
        left = max(watch.timer.left, MIN_COMMAND_SECONDS)
        seconds = min(seconds, MAX_COMMAND_SECONDS, left)
        try:
            code, output = run_command(self.engine, watch.ids[service], service, command, seconds)
        except (EngineRefused, ServiceNotFound) as error:
            # The container has just stopped, or the command is missing or doesn't end.
            code, output = 1, str(error)
        watch.output = output if code else ""
        return code == 0

    def _listens(self, service: str, watch: Watch) -> bool:
        """Return whether a healthy service listens on a port of its image, or probably never will.

        Official images of databases fill an empty directory with a server that only the container
        itself can reach. Their usual health checks succeed there, and engines rarely notice since
        they check after some seconds first.
        """
        ends = watch.listen_until.setdefault(service, time.monotonic() + LISTEN_SECONDS)
        if time.monotonic() > ends:
            return True
        try:
            exposed = exposed_ports(self.engine, watch.ids[service])
            found = listening_ports(self.engine, watch.ids[service], service)
        except (EngineRefused, ServiceNotFound):
            # The image has no `cat`, or the container has just stopped.
            return True
        return found is None or not exposed or bool(exposed & found)

    def probe(
        self,
        observed: Iterable[SandboxFacts],
        checks: Mapping[str, Sequence[ReadyCheck]],
        seconds: float,
    ) -> dict[str, ProbeResult]:
        """Probe the published ports of these sandboxes once. Raises EngineUnreachable."""
        results = probing.probe_sandboxes(
            observed, checks, seconds, self.observer.read_bridge, self.probe_host
        )
        remote = [name for name, result in results.items() if result.traffic_bytes is None]
        traffic = self.observer.traffic(remote)
        return results | {
            name: replace(results[name], traffic_bytes=traffic.get(name)) for name in remote
        }

    def facts(self, spec: SandboxSpec) -> SandboxFacts:
        """Return the facts of the running sandbox. Raises NotReady, EngineUnreachable.

        Traffic is measured after the last check, so checks don't count as activity.
        """
        facts = self.observer.observe(spec.id).get(spec.id)
        for service in spec.services:
            require_running(service.name, facts.services.get(service.name) if facts else None)
        assert facts
        return facts


def is_called(service: ServiceSpec, spec: SandboxSpec) -> bool:
    """Return whether others connect to a service: it has ports, or others wait for its health."""
    return bool(service.ports) or any(
        other.depends_on.get(service.name) is StartCondition.HEALTHY for other in spec.services
    )
