"""A worker is killed at every step of a recreation; the next call completes it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandboxes.runtime import NotReady, Runtime, SandboxSpec
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.process.create import Creator
from sandboxes.runtime.process.destroy import Destroyer
from sandboxes.runtime.process.state_dir import SandboxDir
from tests.harness.runtimes import (
    TIME_LIMIT,
    DockerHarness,
    ProcessHarness,
    RuntimeHarness,
    ignore_step,
    shorten_restoration,
)

pytestmark = pytest.mark.slow

EVERY = [8, pytest.param(1, marks=pytest.mark.exhaustive)]
"""Only each eighth call is killed in the short form, as each kill takes seconds."""


class Killed(BaseException):
    """Simulates a worker's death: the call stops where it is."""


class Countdown:
    """Kills at the call of this number; None never does."""

    def __init__(self) -> None:
        self.left: int | None = None

    def step(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


def recreated_after_kills(
    harness: RuntimeHarness,
    countdown: Countdown,
    recreate: Callable[[Runtime, SandboxSpec], Any],
    every: int,
) -> int:
    """Kill one attempt at each call of a distance, complete it by the next, and return how far."""
    spec = harness.spec()
    before = harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    for number in itertools.count(step=every):
        countdown.left = number
        try:
            recreate(harness.runtime, spec)
        except Killed:
            countdown.left = None
        else:
            countdown.left = None
            return number
        after = harness.runtime.recreate(spec, ignore_step, TIME_LIMIT)
        assert after.services == before.services
        command = harness.command_with_result(0, "works")
        assert harness.runtime.execute(spec.id, "store", command, 10) == (0, "works")
    raise AssertionError


@contextmanager
def killing_engine_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Countdown]:
    countdown, calling = Countdown(), EngineClient.calling

    @contextmanager
    def killing(self: EngineClient, *args: Any, **options: Any) -> Iterator[Any]:
        countdown.step()
        with calling(self, *args, **options) as client:
            yield client

    monkeypatch.setattr(EngineClient, "calling", killing)
    yield countdown


@contextmanager
def killing_changes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Countdown]:
    countdown = Countdown()
    for owner, name in (
        (Destroyer, "stop"),
        (Creator, "create"),
        (SandboxDir, "write_manifest"),
        (Path, "rename"),
        (Path, "mkdir"),
    ):
        monkeypatch.setattr(owner, name, _killing(getattr(owner, name), countdown))
    yield countdown


def _killing(real: Callable[..., Any], countdown: Countdown) -> Callable[..., Any]:
    def step(*args: Any, **options: Any) -> Any:
        countdown.step()
        return real(*args, **options)

    return step


def fail_to_recreate(harness: RuntimeHarness) -> Callable[[Runtime, SandboxSpec], None]:
    """Return a function that recreates a sandbox whose new services never become ready."""

    def recreate(runtime: Runtime, spec: SandboxSpec) -> None:
        broken = replace(harness.failing_spec(7, "no-disk"), id=spec.id)
        with pytest.raises(NotReady):
            runtime.recreate(broken, ignore_step, TIME_LIMIT)

    return recreate


def succeed(runtime: Runtime, spec: SandboxSpec) -> None:
    runtime.recreate(spec, ignore_step, TIME_LIMIT)


@pytest.mark.engine
@pytest.mark.parametrize("fails", [pytest.param(False, marks=pytest.mark.exhaustive), True])
@pytest.mark.parametrize("every", EVERY)
def test_a_recreation_on_an_engine_survives_a_kill_at_any_call(
    docker_harness: DockerHarness, monkeypatch: pytest.MonkeyPatch, fails: bool, every: int
) -> None:
    shorten_restoration(monkeypatch)
    recreate = fail_to_recreate(docker_harness) if fails else succeed
    with killing_engine_calls(monkeypatch) as countdown:
        assert recreated_after_kills(docker_harness, countdown, recreate, every) > 12


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("every", EVERY)
def test_a_recreation_of_processes_survives_a_kill_at_any_change(
    process_harness: ProcessHarness, monkeypatch: pytest.MonkeyPatch, fails: bool, every: int
) -> None:
    shorten_restoration(monkeypatch)
    recreate = fail_to_recreate(process_harness) if fails else succeed
    with killing_changes(monkeypatch) as countdown:
        assert recreated_after_kills(process_harness, countdown, recreate, every) > 4
