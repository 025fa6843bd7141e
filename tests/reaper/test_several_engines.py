"""Engines are observed side by side: one that is away holds up and loses nothing."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from functools import partial
from math import inf
from time import monotonic, sleep

import pytest
from django.utils import timezone

from sandboxes.models import Engine, Sandbox, State, SweepStatus
from sandboxes.models.engine import described_by
from sandboxes.reaper import observe
from sandboxes.runtime import EngineConnection, EngineUnreachable, Usage, call_engines, registry
from sandboxes.runtime.docker import DockerRuntime
from sandboxes.runtime.memory import MemoryRuntime
from tests.fakes.hostile_engine import hostile_engine
from tests.harness import bulk_data
from tests.harness.engines import NAMES, Engines
from tests.harness.runtimes import SUBNETS
from tests.helpers.scenarios import create_singletons, expire, launch, reload, sweep
from tests.helpers.stopwatch import Stopwatch

pytestmark = pytest.mark.django_db


@pytest.fixture
def sandboxes(alice, engines: Engines, settings) -> dict[str, Sandbox]:
    """Return a running sandbox on each engine."""
    settings.SANDBOX_POOL_SIZE = 0
    found = {row.engine_name: row for row in (launch(alice) for _ in NAMES)}
    assert sorted(found) == sorted(NAMES)
    return found


def test_each_sandbox_is_created_on_the_engine_of_its_row(engines, sandboxes):
    assert {name: set(engine.observe()) for name, engine in engines.items()} == {
        name: {row.public_id} for name, row in sandboxes.items()
    }


def test_sandboxes_of_an_engine_that_is_away_are_not_lost_and_return_with_it(engines, sandboxes):
    engines["west"].unreachable = True
    expire(sandboxes["east"])
    result = sweep()

    assert [error for error in result.errors if "engine west can't be reached" in error]
    assert reload(sandboxes["west"]).state == State.RUNNING
    assert reload(sandboxes["east"]).state == State.DESTROYED
    assert Engine.objects.get(name="west").state == "away"
    assert SweepStatus.current().engine_reachable

    engines["west"].unreachable = False
    assert sweep().errors == []
    assert Engine.objects.get(name="west").state == "active"
    assert reload(sandboxes["west"]).state == State.RUNNING


def test_a_sandbox_that_its_own_engine_lost_ends_though_another_one_has_its_objects(
    engines, sandboxes
):
    row = sandboxes["west"]
    engines["west"].remove_externally(row.public_id)
    engines["east"].add_orphan(row.public_id, timezone.now() - timedelta(hours=1))
    sweep()

    assert reload(row).end_reason == "lost"
    assert row.public_id not in engines["east"].observe()


def test_another_engine_at_the_address_counts_as_away(engines, sandboxes):
    Engine.objects.get(name="west").store(engine_id="the engine that was added")
    engines["west"].remove_externally(sandboxes["west"].public_id)
    result = sweep()

    assert any("Another engine answers" in error for error in result.errors)
    assert reload(sandboxes["west"]).state == State.RUNNING


def test_a_sweep_of_three_engines_takes_as_many_queries_for_20_sandboxes_each_as_for_1(
    alice, engines, django_assert_num_queries, django_assert_max_num_queries
):
    create_singletons()

    def fill(count: int) -> None:
        for name, engine in engines.items():
            rows = bulk_data.create_running(count, alice)
            Sandbox.objects.filter(pk__in=[row.pk for row in rows]).update(engine=name)
            bulk_data.create_on_engine(engine, rows)

    fill(1)
    sweep()
    with django_assert_max_num_queries(40) as few:
        assert sweep().errors == []
    fill(19)
    sweep()
    with django_assert_num_queries(len(few)):
        assert sweep().errors == []


@pytest.mark.parametrize("manner", ["silent", "dripping", "endless", "wrong", "closing"])
def test_an_engine_that_answers_badly_delays_no_other_one(sandboxes, manner, tmp_path, monkeypatch):
    monkeypatch.setattr(observe, "OBSERVE_SECONDS", 0.5)
    monkeypatch.setattr(observe, "CONTACT_SECONDS", 0.2)
    west, memory_runtime = Engine.objects.get(name="west").connection, registry._runtime
    expire(sandboxes["east"])
    with hostile_engine(tmp_path, manner) as address:
        hostile = DockerRuntime("tests", SUBNETS, connection=EngineConnection(address), timeout=90)
        began = monotonic()
        with monkeypatch.context() as patch:
            patch.setattr(
                registry, "_runtime", lambda one: hostile if one == west else memory_runtime(one)
            )
            sweep()
            expire(sandboxes["default"])
            sweep()

    assert monotonic() - began < 45
    assert Engine.objects.get(name="west").state == "away"
    states = {name: reload(row).state for name, row in sandboxes.items()}
    assert states == {"default": "destroyed", "east": "destroyed", "west": "running"}


def test_figures_that_no_engine_measures_count_as_no_answer():
    answers = {"east": [Usage(1.0, 1.0, inf, 0, 0)], "west": {"a": 2**60}, "north": "\0"}
    found, failures = call_engines({name: partial(deepcopy, a) for name, a in answers.items()})
    assert (found, failures.keys()) == ({}, answers.keys())
    capabilities = replace(MemoryRuntime().capabilities(), memory_mb=-1)
    assert described_by(capabilities)["memory_mb"] == 0


def test_an_engine_that_hangs_delays_the_answers_of_others_until_its_deadline_only():
    stopwatch = Stopwatch()
    found, failures = call_engines({"fast": lambda: 1, "hangs": lambda: sleep(1)}, 0.1)

    assert stopwatch.seconds < 0.8
    assert (found, list(failures)) == ({"fast": 1}, ["hangs"])
    assert isinstance(failures["hangs"], EngineUnreachable)
