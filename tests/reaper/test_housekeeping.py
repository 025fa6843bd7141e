"""Housekeeping of sweeps, and isolation of errors."""

from __future__ import annotations

import pytest
from django.db import transaction

from sandboxes import actions
from sandboxes.core import leases, lifecycle
from sandboxes.models import EndReason, Engine, Sandbox, State, SweepStatus
from sandboxes.reaper import sweep as reaper_sweep
from sandboxes.runtime import EngineUnreachable
from tests.helpers.scenarios import (
    event_kinds,
    expire,
    launch,
    reload,
    request,
    run_on_commit,
    sweep,
)

pytestmark = [pytest.mark.django_db, pytest.mark.store]


def test_a_second_sweep_has_nothing_to_do(alice, runtime, clock):
    launch(alice)
    clock.forward(minutes=61)
    assert sweep().lines
    second = sweep()

    assert (second.lines, second.errors) == ([], [])


def test_an_error_of_one_row_does_not_stop_the_others(alice, runtime, monkeypatch):
    bad, fine = launch(alice), launch(alice)
    expire(bad, fine)
    real = reaper_sweep.decide

    def fail_for_one(row, *args):
        if row.pk == bad.pk:
            raise ValueError("odd row")
        return real(row, *args)

    monkeypatch.setattr(reaper_sweep, "decide", fail_for_one)
    result = sweep()

    assert reload(fine).state == State.DESTROYED
    assert result.errors == [f"{bad.public_id}: ValueError: odd row"]


def test_a_dry_run_reports_actions_without_performing_them(alice, runtime, clock):
    due, waits = launch(alice, ttl_minutes=15), request(alice)
    runtime.add_orphan("sbx_orphan")
    clock.forward(minutes=20)
    runtime.add_traffic(due.public_id)
    before = [reload(due), reload(waits), event_kinds(due), runtime.observe()]
    result = sweep(dry_run=True)

    assert dict(result.counts) == {"expire": 1, "fail": 1, "orphan": 1}
    assert [reload(due), reload(waits), event_kinds(due), runtime.observe()] == before
    assert reload(due).last_activity_at == due.last_activity_at
    assert SweepStatus.current().last_sweep_at is None


def test_a_sweep_records_the_capabilities_of_the_engine(runtime):
    sweep()
    assert (Engine.default().version, Engine.default().disk_quota_enforced) == (
        "memory 1",
        False,
    )
    runtime.hard_disk_limit = True
    sweep()
    assert Engine.default().disk_quota_enforced is True


def test_unreadable_usage_is_reported_and_stops_nothing(alice, runtime):
    launch(alice)
    runtime.fail_next("usage", EngineUnreachable("No answer."))
    result = sweep()

    assert result.errors == ["sampling: No answer."]
    assert Engine.default().version == "memory 1"


def test_history_is_retained_for_90_days(alice, runtime, clock):
    old, _ = actions.launch_sandbox(alice, actions.LaunchRequest(), "k-1")
    with run_on_commit():
        actions.destroy(old, alice)
    clock.forward(days=89)
    sweep()
    assert reload(old).events.exists()

    clock.forward(days=2)
    sweep()
    assert not Sandbox.objects.exists()


def test_active_sandboxes_are_never_pruned(alice, runtime, settings):
    settings.SANDBOX_RETENTION_DAYS = 0
    sandbox = launch(alice)
    stuck = launch(alice)
    lifecycle.begin_destroy(stuck, EndReason.USER, "Enough.")
    leases.acquire_lease(stuck, [State.DESTROYING])
    sweep()

    assert reload(sandbox).state == State.RUNNING
    assert reload(stuck).state == State.DESTROYING


def test_a_sweep_of_many_healthy_sandboxes_runs_few_queries(
    alice, runtime, settings, django_assert_max_num_queries
):
    settings.SANDBOX_MAX_PER_USER = 40
    for _ in range(30):
        launch(alice)
    Sandbox.objects.update(funding="funded", funding_due_at=None)
    runtime.add_traffic(alice.sandboxes.first().public_id)
    reaper_sweep.Sweep().run()
    runtime.add_traffic(alice.sandboxes.first().public_id)

    with django_assert_max_num_queries(41), transaction.atomic():
        reaper_sweep.Sweep().run()
