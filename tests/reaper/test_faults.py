"""Sweeps that find broken, lost or unremovable sandboxes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sandboxes import actions
from sandboxes.models import EndReason, Sandbox, State, SweepStatus
from sandboxes.runtime import EngineRefused
from sandboxes.worker import provisioning
from tests.helpers.scenarios import (
    after_next_observe,
    event_kinds,
    expire,
    launch,
    reload,
    request,
    run_on_commit,
    sweep,
)

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("breaks", "reason", "words"),
    [
        (lambda rt, name: rt.stop_service(name, "api", 3), EndReason.CRASHED, "exit code 3"),
        (
            lambda rt, name: rt.stop_service(name, "db", 137, oom=True),
            EndReason.OUT_OF_MEMORY,
            "memory",
        ),
        (lambda rt, name: rt.set_disk_usage(name, 2049), EndReason.DISK_FULL, "2049 MB of 2048 MB"),
        (lambda rt, name: rt.remove_externally(name), EndReason.LOST, "no longer on the engine"),
    ],
)
def test_a_broken_sandbox_fails_with_the_reason(alice, runtime, breaks, reason, words):
    sandbox = launch(alice)
    runtime.write_log(sandbox.public_id, "api", "famous last words")
    breaks(runtime, sandbox.public_id)
    sweep()

    sandbox = reload(sandbox)
    assert (sandbox.state, sandbox.end_reason) == (State.FAILED, reason)
    assert words in sandbox.end_message
    assert runtime.observe() == {}
    assert not alice.sandboxes.active().exists()
    if reason != EndReason.LOST:
        assert "famous last words" in sandbox.failure["log_tail"], "the logs are still readable"


def test_a_sandbox_with_lost_encryption_keys_still_ends(alice, runtime, settings, clock):
    running, broken = launch(alice), launch(alice)
    settings.SANDBOX_ENCRYPTION_KEYS = ["bm90LXRoZS1rZXktbm90LXRoZS1rZXktbm90LXRoZS0="]
    runtime.stop_service(broken.public_id, "api", 1)
    clock.forward(minutes=60)
    assert sweep().errors == []

    assert reload(running).end_reason == EndReason.EXPIRED
    assert reload(broken).state == State.DESTROYED
    assert runtime.observe() == {}


def test_a_failure_with_lost_encryption_keys_explains_the_missing_logs(alice, runtime, settings):
    broken = launch(alice)
    settings.SANDBOX_ENCRYPTION_KEYS = ["bm90LXRoZS1rZXktbm90LXRoZS1rZXktbm90LXRoZS0="]
    runtime.stop_service(broken.public_id, "api", 1)
    sweep()

    assert reload(broken).state == State.FAILED
    assert "SANDBOX_ENCRYPTION_KEYS" in reload(broken).failure["log_tail"]


def test_a_sandbox_of_a_removed_blueprint_still_ends(alice, runtime, clock):
    sandbox = launch(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(blueprint="gone")
    assert sweep().errors == []
    clock.forward(minutes=61)
    sweep()

    assert reload(sandbox).end_reason == EndReason.EXPIRED


def test_a_launch_lost_by_the_queue_is_requeued(alice, runtime, clock):
    sandbox = request(alice)
    sweep()
    assert reload(sandbox).state == State.PENDING

    clock.forward(seconds=11)
    sweep()
    assert reload(sandbox).state == State.RUNNING


def test_a_launch_that_no_worker_processes_fails_in_the_end(alice, runtime, clock):
    sandbox = request(alice)
    clock.forward(minutes=11)
    sweep()

    assert (reload(sandbox).state, reload(sandbox).end_reason) == (
        State.FAILED,
        EndReason.PROVISION_FAILED,
    )


def test_a_late_decision_does_not_fail_a_sandbox_that_just_started(alice, runtime, clock):
    sandbox = request(alice)
    clock.forward(minutes=11)
    after_next_observe(runtime, lambda: provisioning.provision(reload(sandbox)))
    result = sweep()

    assert reload(sandbox).state == State.RUNNING
    assert result.lines == []


def test_a_launch_during_a_sweep_is_neither_orphan_nor_lost(alice, runtime, monkeypatch, settings):
    settings.SANDBOX_ORPHAN_GRACE_SECONDS = 0
    real = runtime.observe

    def launched_meanwhile(**choices):
        monkeypatch.setattr(runtime, "observe", real)
        launch(alice)
        return real(**choices)

    monkeypatch.setattr(runtime, "observe", launched_meanwhile)
    sweep()

    assert alice.sandboxes.get().state == State.RUNNING
    assert len(runtime.observe()) == 1


def test_a_failed_removal_does_not_affect_other_sandboxes(alice, bob, runtime, clock):
    expire(launch(alice), launch(bob))
    runtime.fail_next("destroy", EngineRefused("The engine refused to remove it: device is busy."))
    result = sweep()

    # Removals run at the same time, so either may be the one that fails.
    stuck = Sandbox.objects.get(state=State.DESTROYING)
    assert Sandbox.objects.get(state=State.DESTROYED)
    assert result.errors == [
        f"{stuck.public_id} could not be removed: The engine refused to remove it: device is busy."
    ]
    assert "device is busy" in SweepStatus.current().last_sweep_error


def test_removals_are_retried_with_growing_delays_and_reported(alice, runtime, clock):
    sandbox = launch(alice)
    expire(sandbox)
    waits = []
    for _ in range(9):
        runtime.fail_next("destroy", EngineRefused("It is busy."))
        assert sweep().errors
        waits.append((reload(sandbox).leased_until - timezone.now()).total_seconds())
        clock.forward(seconds=waits[-1] - 1)
        assert sweep().errors, "the retry isn't due, so the removal is still pending"
        clock.forward(seconds=1)

    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert reload(sandbox).removal_attempts == 9
    assert event_kinds(sandbox).count("removal_delayed") == 1, "the same error is recorded once"
    runtime._failures.clear()
    assert sweep().errors == []
    assert reload(sandbox).state == State.DESTROYED
    assert reload(sandbox).removal_error == ""


def test_an_unreachable_engine_does_not_mean_lost_sandboxes(alice, runtime, clock):
    running, unused = launch(alice), request(alice)
    runtime.unreachable = True
    clock.forward(seconds=20)
    result = sweep()

    assert reload(running).state == State.RUNNING
    assert reload(unused).state == State.PROVISIONING
    assert result.errors[0].startswith("The engine can't be reached")
    assert SweepStatus.current().last_sweep_at == timezone.now()


def test_sandboxes_due_during_an_engine_outage_end_afterwards(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(minutes=61)
    runtime.unreachable = True
    sweep()
    assert (reload(sandbox).state, reload(sandbox).end_reason) == (
        State.DESTROYING,
        EndReason.EXPIRED,
    )

    runtime.unreachable = False
    assert sweep().errors == []
    assert reload(sandbox).state == State.DESTROYED
    assert runtime.observe() == {}


def test_an_engine_outage_during_a_sweep_is_reported(alice, runtime):
    sandbox = launch(alice)
    expire(sandbox)
    after_next_observe(runtime, lambda: setattr(runtime, "unreachable", True))
    result = sweep()

    assert reload(sandbox).state == State.DESTROYING
    assert result.errors
    assert SweepStatus.current().last_sweep_at


def test_an_orphan_is_removed_after_the_grace_period_only(alice, runtime, clock):
    runtime.add_orphan("sbx_orphan")
    keeps = launch(alice)
    clock.forward(seconds=59)
    assert sweep().lines == []
    clock.forward(seconds=1)
    result = sweep()

    assert result.counts["orphan"] == 1
    assert list(runtime.observe()) == [keeps.public_id]


def test_remains_of_an_ended_sandbox_are_orphans(alice, runtime, clock):
    sandbox = launch(alice)
    with run_on_commit():
        actions.destroy(sandbox, alice)
    runtime.add_orphan(sandbox.public_id, timezone.now() - timedelta(minutes=5))
    sweep()

    assert runtime.observe() == {}


def test_a_failed_orphan_removal_is_reported_and_does_not_stop_others(alice, runtime):
    old = timezone.now() - timedelta(hours=1)
    runtime.add_orphan("sbx_stuck", old)
    runtime.add_orphan("sbx_other", old)
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    result = sweep()

    assert result.errors == ["sbx_stuck: It is busy."]
    assert list(runtime.observe()) == ["sbx_stuck"]
