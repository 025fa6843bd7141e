"""Launches and removals count once each, even if sweeps overlap."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sandboxes import actions
from sandboxes.metrics import outcomes
from sandboxes.models import OutcomeCount, OutcomeCursor, Sandbox
from sandboxes.models.outcome_count import ALL_TIME
from sandboxes.runtime import EngineRefused, EngineUnreachable
from tests.conftest import Clock
from tests.helpers.scenarios import (
    launch,
    request,
    run_on_commit,
    sweep,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime"), pytest.mark.store]


def counted(act: str = "launch") -> dict[str, int]:
    """Return the all-time counts by launch kind and result."""
    return {
        f"{row.launch_kind} {row.result}".strip(): row.count
        for row in outcomes.all_time()
        if row.operation == act
    }


def settle(clock: Clock) -> None:
    clock.forward(seconds=16)
    outcomes.aggregate_events()


def test_launches_are_counted_by_result(alice, runtime, clock):
    launch(alice)
    runtime.fail_startup("api", 1)
    with run_on_commit():
        request(alice)
    with run_on_commit():
        actions.destroy(request(alice), alice)
    settle(clock)

    assert counted() == {"cold ready": 1, "cold failed": 1, "cold cancelled": 1}


def test_claims_count_as_warm_and_pooled_sandboxes_do_not_count(alice, settings, clock):
    settings.SANDBOX_POOL_SIZE = 1
    sweep()
    settle(clock)
    assert counted() == {}

    request(alice)
    settle(clock)
    assert counted() == {"warm ready": 1}


def test_removals_are_counted_with_their_duration(alice, runtime, clock):
    easy, hard = launch(alice), launch(alice)
    with run_on_commit():
        actions.destroy(easy, alice)
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    with run_on_commit():
        actions.destroy(hard, alice)
    clock.forward(seconds=40)
    sweep()
    settle(clock)

    assert counted("destroy") == {"cold removed": 1, "cold retried": 1}
    assert OutcomeCount.objects.get(
        bucket_start=ALL_TIME, result="retried"
    ).seconds == pytest.approx(40, abs=1)


def test_recent_events_wait_for_the_next_aggregation(alice, clock):
    launch(alice)
    outcomes.aggregate_events()
    assert counted() == {}

    settle(clock)
    outcomes.aggregate_events()
    assert counted() == {"cold ready": 1}


def test_events_are_aggregated_in_batches_and_once_each(alice, clock, monkeypatch):
    monkeypatch.setattr(outcomes, "BATCH_SIZE", 3)
    for _ in range(3):
        launch(alice)
    settle(clock)
    settle(clock)

    assert counted() == {"cold ready": 3}


def test_an_overtaken_sweep_counts_nothing(alice, clock, monkeypatch):
    launch(alice)
    clock.forward(seconds=16)
    current = OutcomeCursor.current

    def overtaken() -> OutcomeCursor:
        site = current()
        OutcomeCursor.objects.update(last_event_id=99)
        return site

    monkeypatch.setattr(OutcomeCursor, "current", overtaken)
    outcomes.aggregate_events()
    assert counted() == {}


def test_totals_survive_the_pruning_of_sandboxes_and_buckets(alice, clock):
    with run_on_commit():
        actions.destroy(launch(alice), alice)
    settle(clock)
    clock.forward(days=91)
    sweep()

    assert not Sandbox.objects.exists()
    assert counted() == {"cold ready": 1}
    assert not OutcomeCount.objects.exclude(bucket_start=ALL_TIME).exists()


def test_failed_engine_calls_are_counted(alice, runtime):
    sandbox = launch(alice)
    runtime.fail_next("create", EngineUnreachable("The engine did not answer."))
    with run_on_commit():
        request(alice)
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    with run_on_commit():
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
def test_quantiles_are_interpolated_inside_their_bucket(seconds, share, about):
    total = outcomes.Histogram()
    for one in seconds:
        total.add(one)
    found = total.quantile(share)
    assert found == (about if about is None else pytest.approx(about, rel=0.01))


def test_buckets_start_every_five_minutes():
    began = ALL_TIME + timedelta(days=20_000, minutes=35)
    assert (
        outcomes.bucket_start(began) == outcomes.bucket_start(began + timedelta(minutes=4)) == began
    )
