"""Waiting until a sandbox answers, and noticing at once when it never will."""

from __future__ import annotations

import http.client
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from sandboxes.runtime import ReadyCheck, Report, SandboxFacts, SandboxSpec, ServiceFacts
from sandboxes.runtime.docker.observe import Observer
from sandboxes.runtime.readiness import require_running, timeout_error

STEP = "ready"
MIN_PAUSE_SECONDS = 0.005
MAX_PAUSE_SECONDS = 0.1
BACKOFF_FACTOR = 1.1
"""Of the pause between two questions to which there was no answer."""
OBSERVE_INTERVAL_SECONDS = 0.2
REPORT_INTERVAL_SECONDS = 1.0
RESPONSE_TIMEOUT_SECONDS = 5.0

Meanwhile = Callable[[], None]
"""Called several times a second while an answer is waited for; raises what ends the waiting."""


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
class ReadinessProbe:
    """Watches one sandbox come up. `probe_host`: where this process reaches published ports."""

    observer: Observer
    probe_host: str

    def until_ready(self, spec: SandboxSpec, report: Report, timer: Timer) -> None:
        """Returns when every check was answered. Raises NotReady, EngineUnreachable."""
        ports = {name: facts.ports for name, facts in self._all_running(spec).items()}
        for check in spec.ready:
            published = ports[check.service].get(check.port)
            meanwhile = partial(self._meanwhile, spec, check, report, timer)
            pause = MIN_PAUSE_SECONDS
            while not (
                published and responds(self.probe_host, published.port, check.path, meanwhile)
            ):
                meanwhile()
                time.sleep(pause)
                pause = min(pause * BACKOFF_FACTOR, MAX_PAUSE_SECONDS)

    def facts(self, spec: SandboxSpec) -> SandboxFacts:
        """All of them. Traffic is measured after the last check, so that checks are no activity.

        Raises NotReady, EngineUnreachable.
        """
        facts = self.observer.observe(spec.id).get(spec.id)
        _must_run(spec, facts.services if facts else {})
        assert facts
        return facts

    def _meanwhile(
        self, spec: SandboxSpec, check: ReadyCheck, report: Report, timer: Timer
    ) -> None:
        if timer.up:
            raise timeout_error(check, timer.seconds)
        if timer.every(REPORT_INTERVAL_SECONDS, "report"):
            report(STEP)
        if timer.every(OBSERVE_INTERVAL_SECONDS, "look"):
            self._all_running(spec)

    def _all_running(self, spec: SandboxSpec) -> Mapping[str, ServiceFacts]:
        services = self.observer.services(spec.id)
        _must_run(spec, services)
        return services


def responds(host: str, port: int, path: str, meanwhile: Meanwhile) -> bool:
    """Whether a GET is answered with 200.

    A service that listens before it is ready needs no second question: it answers the first one
    at the moment when it is.
    """
    connection = http.client.HTTPConnection(host, port, timeout=RESPONSE_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        if not _has_answered(connection.sock, meanwhile):
            return False
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return answer.status == http.client.OK
    finally:
        connection.close()


def _has_answered(connection: socket.socket, meanwhile: Meanwhile) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        for _ in range(round(RESPONSE_TIMEOUT_SECONDS / OBSERVE_INTERVAL_SECONDS)):
            if selector.select(OBSERVE_INTERVAL_SECONDS):
                return True
            meanwhile()
    return False


def _must_run(spec: SandboxSpec, services: Mapping[str, ServiceFacts]) -> None:
    for service in spec.services:
        require_running(service.name, services.get(service.name))
