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
    ServiceState,
    TcpCheck,
    probing,
)
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.exec_and_logs import run_command
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

    def is_due(self, seconds: float, what: str) -> bool:
        """Return whether `what` was last done at least `seconds` ago, or never."""
        now = time.monotonic()
        if now - self._last.get(what, float("-inf")) < seconds:
            return False
        self._last[what] = now
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
                return health is None or self._command_succeeds(
                    check.service, health.command, watch, health.timeout
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
