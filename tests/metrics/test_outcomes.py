"""Launches and removals are counted once each, whatever sweeps overlap."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sandboxes import actions
from sandboxes.metrics import outcomes
from sandboxes.models import OutcomeCount, Sandbox, Site
from sandboxes.models.outcome_count import ALL_TIME
from sandboxes.runtime import EngineRefused, EngineUnreachable
from tests.conftest import Clock
from tests.helpers.scenarios import (
    committed,
    launch,
    request,
    sweep,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime"), pytest.mark.store]


def counted(act: str = "launch") -> dict[str, int]:
    """Of all time, by start and result."""
    return {
        f"{row.start} {row.result}".strip(): row.count
        for row in outcomes.all_time()
        if row.act == act
    }


def settle(clock: Clock) -> None:
    clock.forward(seconds=16)
    outcomes.aggregate_events()


def test_launches_are_counted_by_how_they_went(alice, runtime, clock):
    launch(alice)
    runtime.fail_startup("api", 1)
    with committed():
        request(alice)
    with committed():
        actions.destroy(request(alice), alice)
    settle(clock)

    assert counted() == {"cold ready": 1, "cold failed": 1, "cold cancelled": 1}


def test_one_out_of_the_pool_is_warm_and_what_waits_there_is_no_launch(alice, settings, clock):
    settings.SANDBOX_POOL_SIZE = 1
    sweep()
    settle(clock)
    assert counted() == {}

    request(alice)
    settle(clock)
    assert counted() == {"warm ready": 1}


def test_removals_are_counted_with_the_time_that_they_took(alice, runtime, clock):
    easy, hard = launch(alice), launch(alice)
    with committed():
        actions.destroy(easy, alice)
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    with committed():
        actions.destroy(hard, alice)
    clock.forward(seconds=40)
    sweep()
    settle(clock)

    assert counted("destroy") == {"cold removed": 1, "cold retried": 1}
    assert OutcomeCount.objects.get(slot=ALL_TIME, result="retried").seconds == pytest.approx(
        40, abs=1
    )


def test_what_may_not_be_committed_yet_waits_for_the_next_time(alice, clock):
    launch(alice)
    outcomes.aggregate_events()
    assert counted() == {}

    settle(clock)
    outcomes.aggregate_events()
    assert counted() == {"cold ready": 1}


def test_many_events_are_counted_in_parts_and_none_twice(alice, clock, monkeypatch):
    monkeypatch.setattr(outcomes, "BATCH_SIZE", 3)
    for _ in range(3):
        launch(alice)
    settle(clock)
    settle(clock)

    assert counted() == {"cold ready": 3}


def test_a_sweep_that_comes_second_counts_nothing(alice, clock, monkeypatch):
    launch(alice)
    clock.forward(seconds=16)
    current = Site.current

    def overtaken() -> Site:
        site = current()
        Site.objects.update(tallied_event=99)
        return site

    monkeypatch.setattr(Site, "current", overtaken)
    outcomes.aggregate_events()
    assert counted() == {}


def test_sums_stay_when_sandboxes_and_slots_are_forgotten(alice, clock):
    with committed():
        actions.destroy(launch(alice), alice)
    settle(clock)
    clock.forward(days=91)
    sweep()

    assert not Sandbox.objects.exists()
    assert counted() == {"cold ready": 1}
    assert not OutcomeCount.objects.exclude(slot=ALL_TIME).exists()


def test_calls_that_the_engine_did_not_carry_out_are_counted(alice, runtime):
    sandbox = launch(alice)
    runtime.fail_next("create", EngineUnreachable("The engine did not answer."))
    with committed():
        request(alice)
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    with committed():
        actions.destroy(sandbox, alice)
    runtime.unreachable = True
    sweep()

    assert counted("engine_error") == {"create": 1, "destroy": 1, "observe": 1}


@pytest.mark.parametrize(
    ("seconds", "share", "about"),
    [
        ([], 0.5, None),
        ([0.0] * 9, 0.5, 0.05),
        ([1.2] * 50 + [40] * 50, 0.95, 43.5),
        ([9999], 1, 600),
    ],
)
def test_a_quantile_lies_in_the_bucket_that_holds_it(seconds, share, about):
    total = outcomes.Histogram()
    for one in seconds:
        total.add(one)
    found = total.quantile(share)
    assert found == (about if about is None else pytest.approx(about, rel=0.01))


def test_slots_begin_every_five_minutes():
    began = ALL_TIME + timedelta(days=20_000, minutes=35)
    assert (
        outcomes.bucket_start(began) == outcomes.bucket_start(began + timedelta(minutes=4)) == began
    )
