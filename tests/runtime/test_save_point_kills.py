"""Random saves, restorations, launches and ends, some of them killed: nothing is left over."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from sandboxes.runtime import SandboxSpec
from tests.harness.runtimes import (
    TIME_LIMIT,
    DockerHarness,
    ProcessHarness,
    RuntimeHarness,
    ignore_step,
    new_id,
    shorten_restoration,
)
from tests.runtime.test_recreation_kills import (
    Countdown,
    Killed,
    killing_changes,
    killing_engine_calls,
)

pytestmark = pytest.mark.slow

STEPS = [8, pytest.param(100, marks=pytest.mark.exhaustive)]
MOST_CALLS = 25
"""A killed operation ends at one of its first calls."""


@dataclass
class Model:
    """What should exist: sandboxes and save points with their data."""

    harness: RuntimeHarness
    countdown: Countdown
    dice: random.Random
    sandboxes: dict[str, str] = field(default_factory=dict)
    save_points: dict[str, str] = field(default_factory=dict)

    def spec(self, sandbox: str, save_point: str = "") -> SandboxSpec:
        return replace(self.harness.spec(), id=sandbox, save_point=save_point)

    def survive(self, operation: Callable[[], object]) -> None:
        """Run an operation; one of two is killed first, and then completed, as by a sweep."""
        if self.dice.random() < 0.5:
            self.countdown.left = self.dice.randrange(MOST_CALLS)
            try:
                operation()
            except Killed:
                pass
            else:
                return
            finally:
                self.countdown.left = None
        operation()

    def launch(self) -> None:
        sandbox, source = new_id(), self.dice.choice(["", *self.save_points])
        spec, runtime = self.spec(sandbox, source), self.harness.runtime
        self.survive(lambda: runtime.create(spec, ignore_step, TIME_LIMIT))
        if source:
            assert self.harness.read_data(spec) == self.save_points[source]
        self.change(sandbox)

    def change(self, sandbox: str) -> None:
        self.sandboxes[sandbox] = f"{self.dice.random()}"
        self.harness.write_data(self.spec(sandbox), self.sandboxes[sandbox])

    def save(self) -> None:
        sandbox, save_point = self.dice.choice([*self.sandboxes]), f"sp_{self.dice.randrange(3)}"
        if save_point not in self.save_points:
            spec, runtime = self.spec(sandbox), self.harness.runtime
            self.survive(lambda: self.resumed(spec) and runtime.save(spec, save_point))
            self.save_points[save_point] = self.sandboxes[sandbox]
            self.change(sandbox)

    def resumed(self, spec: SandboxSpec) -> bool:
        """Repair a sandbox whose save was killed while it was paused, as the next sweep does."""
        if self.countdown.left is None:
            self.harness.runtime.repair(spec, ignore_step, TIME_LIMIT)
        return True

    def restore(self) -> None:
        sandbox = self.dice.choice([*self.sandboxes])
        save_point = self.dice.choice([*self.save_points])
        spec, runtime = self.spec(sandbox, save_point), self.harness.runtime
        self.survive(lambda: runtime.recreate(spec, ignore_step, TIME_LIMIT))
        self.sandboxes[sandbox] = self.save_points[save_point]
        assert self.harness.read_data(spec) == self.sandboxes[sandbox]

    def end(self) -> None:
        sandbox = self.dice.choice([*self.sandboxes])
        self.survive(lambda: self.harness.runtime.destroy(sandbox))
        del self.sandboxes[sandbox]

    def step(self) -> None:
        operations = [self.launch] if len(self.sandboxes) < 3 else []
        operations += [self.save, self.end] if self.sandboxes else []
        operations += [self.restore] if self.sandboxes and self.save_points else []
        self.dice.choice(operations)()

    def end_all(self) -> None:
        while self.sandboxes:
            self.end()
        for save_point in self.save_points:
            self.survive(partial(self.harness.runtime.remove_save_point, save_point))


def live(
    harness: DockerHarness | ProcessHarness,
    killing: AbstractContextManager[Countdown],
    steps: int,
) -> None:
    with killing as countdown:
        model = Model(harness, countdown, random.Random(steps))
        model.launch()
        model.save()
        for _ in range(steps):
            model.step()
        model.end_all()
    assert harness.remaining() == []


@pytest.mark.engine
@pytest.mark.parametrize("steps", [4, *STEPS[1:]])
def test_nothing_is_left_on_an_engine(
    docker_harness: DockerHarness, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    shorten_restoration(monkeypatch)
    live(docker_harness, killing_engine_calls(monkeypatch), steps)


@pytest.mark.parametrize("steps", STEPS)
def test_nothing_is_left_of_processes(
    process_harness: ProcessHarness, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    shorten_restoration(monkeypatch)
    live(process_harness, killing_changes(monkeypatch), steps)
