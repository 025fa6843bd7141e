"""Waiting until a sandbox answers, and noticing at once when it never will."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass

from sandboxes.runtime import (
    NotReady,
    ReadyCheck,
    Report,
    SandboxFacts,
    SandboxSpec,
    ServiceFacts,
    ServiceState,
)
from sandboxes.runtime.docker.observation import Observer

STEP = "ready"
ASK_EVERY_SECONDS = 0.025
LOOK_EVERY_SECONDS = 0.2
REPORT_EVERY_SECONDS = 1.0
ANSWER_WITHIN_SECONDS = 1.0


class Timer:
    """Counts down the time that a launch may take, and spaces out what is done meanwhile."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ends = time.monotonic() + seconds
        self._last: dict[str, float] = {}

    @property
    def up(self) -> bool:
        return time.monotonic() >= self.ends

    def every(self, seconds: float, what: str) -> bool:
        """Whether `what` was last done that long ago, or never."""
        now = time.monotonic()
        if now - self._last.get(what, float("-inf")) < seconds:
            return False
        self._last[what] = now
        return True


@dataclass(frozen=True)
class Watch:
    """Watches one sandbox come up. `probe_host`: where this process reaches published ports."""

    observer: Observer
    probe_host: str

    def until_ready(self, spec: SandboxSpec, report: Report, timer: Timer) -> SandboxFacts:
        """The facts, once every check was answered. Raises NotReady, EngineUnreachable.

        Traffic is measured after the last check, so that checks are no activity.
        """
        pending = list(spec.ready)
        facts = self._all_running(spec)
        while pending := [c for c in pending if not self._answered(c, facts)]:
            if timer.up:
                raise _too_late(pending[0], timer.seconds)
            if timer.every(REPORT_EVERY_SECONDS, "report"):
                report(STEP)
            if timer.every(LOOK_EVERY_SECONDS, "look"):
                facts = self._all_running(spec)
            time.sleep(ASK_EVERY_SECONDS)
        return self._all_running(spec, traffic=True)

    def _all_running(self, spec: SandboxSpec, traffic: bool = False) -> SandboxFacts:
        facts = self.observer.look(spec.id, traffic=traffic).get(spec.id)
        for service in spec.services:
            _must_run(service.name, facts.services.get(service.name) if facts else None)
        assert facts
        return facts

    def _answered(self, check: ReadyCheck, facts: SandboxFacts) -> bool:
        published = facts.services[check.service].ports.get(check.port)
        return published is not None and answers(self.probe_host, published.port, check.path)


def answers(host: str, port: int, path: str) -> bool:
    """Whether a GET is answered with 200."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_WITHIN_SECONDS)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return answer.status == http.client.OK
    finally:
        connection.close()


def _must_run(name: str, service: ServiceFacts | None) -> None:
    if service is None:
        raise NotReady(f"The service {name} disappeared while it was started.", service=name)
    if service.state is ServiceState.RUNNING:
        return
    how = "ran out of memory" if service.out_of_memory else f"stopped ({service.exit_code})"
    if not service.out_of_memory and service.exit_code is not None:
        how = f"stopped with exit code {service.exit_code}"
    message = f"The service {name} {how} before the sandbox was ready."
    raise NotReady(message, service=name, exit_code=service.exit_code)


def _too_late(check: ReadyCheck, seconds: float) -> NotReady:
    return NotReady(
        f"The service {check.service} did not answer GET {check.path} with 200 "
        f"within {seconds:g} seconds.",
        service=check.service,
    )
