"""Waiting until a sandbox responds, and failing at once if it never will."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sandboxes.runtime import (
    ProbeResult,
    ReadyCheck,
    Report,
    SandboxFacts,
    SandboxSpec,
    ServiceFacts,
    probing,
)
from sandboxes.runtime.docker.observe import Observer
from sandboxes.runtime.readiness import require_running, succeeds, timeout_error

STEP = "ready"
MIN_PAUSE_SECONDS = 0.005
MAX_PAUSE_SECONDS = 0.1
BACKOFF_FACTOR = 1.1
"""Growth of the pause between two attempts."""
OBSERVE_INTERVAL_SECONDS = 0.2
REPORT_INTERVAL_SECONDS = 1.0
RESPONSE_TIMEOUT_SECONDS = 5.0


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


@dataclass(frozen=True)
class ReadinessProbe:
    """Probes a starting sandbox at `probe_host`, where this process reaches published ports."""

    observer: Observer
    probe_host: str

    def until_ready(self, spec: SandboxSpec, report: Report, timer: Timer) -> None:
        """Wait until every check succeeds. Raises NotReady, EngineUnreachable."""
        ports = {name: facts.ports for name, facts in self._all_running(spec).items()}
        for check in spec.ready:
            published = ports[check.service].get(check.port)
            while_waiting = partial(self._while_waiting, spec, check, report, timer)
            pause = MIN_PAUSE_SECONDS
            while not (
                published
                and succeeds(
                    check,
                    self.probe_host,
                    published.port,
                    min(RESPONSE_TIMEOUT_SECONDS, timer.left),
                    while_waiting,
                )
            ):
                while_waiting()
                time.sleep(pause)
                pause = min(pause * BACKOFF_FACTOR, MAX_PAUSE_SECONDS)

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
        _require_all_running(spec, facts.services if facts else {})
        assert facts
        return facts

    def _while_waiting(
        self, spec: SandboxSpec, check: ReadyCheck, report: Report, timer: Timer
    ) -> None:
        if timer.expired:
            raise timeout_error(check, timer.seconds)
        if timer.is_due(REPORT_INTERVAL_SECONDS, "report"):
            report(STEP)
        if timer.is_due(OBSERVE_INTERVAL_SECONDS, "look"):
            self._all_running(spec)

    def _all_running(self, spec: SandboxSpec) -> Mapping[str, ServiceFacts]:
        services = self.observer.services(spec.id)
        _require_all_running(spec, services)
        return services


def _require_all_running(spec: SandboxSpec, services: Mapping[str, ServiceFacts]) -> None:
    for service in spec.services:
        require_running(service.name, services.get(service.name))
