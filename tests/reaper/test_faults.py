"""Sweeps that meet what broke, what was lost and what can't be removed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sandboxes import actions
from sandboxes.models import EndReason, Sandbox, Site, State
from sandboxes.runtime import EngineRefused
from sandboxes.worker import provisioning
from tests.helpers.scenarios import (
    again,
    committed,
    expire,
    launch,
    once_observed,
    request,
    story,
    sweep,
)

pytestmark = [pytest.mark.django_db, pytest.mark.store]


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
        (lambda rt, name: rt.lose(name), EndReason.LOST, "no longer on the engine"),
    ],
)
def test_a_broken_sandbox_ends_as_failed_with_the_reason(alice, runtime, breaks, reason, words):
    sandbox = launch(alice)
    runtime.write_log(sandbox.public_id, "api", "famous last words")
    breaks(runtime, sandbox.public_id)
    sweep()

    sandbox = again(sandbox)
    assert (sandbox.state, sandbox.end_reason) == (State.FAILED, reason)
    assert words in sandbox.end_message
    assert runtime.observe() == {}
    assert not alice.sandboxes.active().exists()
    if reason != EndReason.LOST:
        assert "famous last words" in sandbox.failure["log_tail"], "they can still be read"


def test_a_sandbox_whose_keys_were_lost_still_ends(alice, runtime, settings, clock):
    running, broken = launch(alice), launch(alice)
    settings.SANDBOX_ENCRYPTION_KEYS = ["bm90LXRoZS1rZXktbm90LXRoZS1rZXktbm90LXRoZS0="]
    runtime.stop_service(broken.public_id, "api", 1)
    clock.forward(minutes=60)
    assert sweep().errors == []

    assert again(running).end_reason == EndReason.EXPIRED
    assert again(broken).state == State.DESTROYED
    assert runtime.observe() == {}


def test_one_that_broke_with_its_keys_lost_says_why_there_are_no_logs(alice, runtime, settings):
    broken = launch(alice)
    settings.SANDBOX_ENCRYPTION_KEYS = ["bm90LXRoZS1rZXktbm90LXRoZS1rZXktbm90LXRoZS0="]
    runtime.stop_service(broken.public_id, "api", 1)
    sweep()

    assert again(broken).state == State.FAILED
    assert "SANDBOX_ENCRYPTION_KEYS" in again(broken).failure["log_tail"]


def test_a_sandbox_of_a_blueprint_that_was_taken_away_still_ends(alice, runtime, clock):
    sandbox = launch(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(blueprint="gone")
    assert sweep().errors == []
    clock.forward(minutes=61)
    sweep()

    assert again(sandbox).end_reason == EndReason.EXPIRED


def test_a_request_that_the_queue_lost_is_sent_again(alice, runtime, clock):
    sandbox = request(alice)
    sweep()
    assert again(sandbox).state == State.PENDING

    clock.forward(seconds=11)
    sweep()
    assert again(sandbox).state == State.RUNNING


def test_a_request_that_nobody_takes_up_is_given_up_in_the_end(alice, runtime, clock):
    sandbox = request(alice)
    clock.forward(minutes=11)
    sweep()

    assert (again(sandbox).state, again(sandbox).end_reason) == (
        State.FAILED,
        EndReason.PROVISION_FAILED,
    )


def test_one_that_was_made_just_now_is_not_given_up_by_a_late_verdict(alice, runtime, clock):
    sandbox = request(alice)
    clock.forward(minutes=11)
    once_observed(runtime, lambda: provisioning.provision(again(sandbox)))
    result = sweep()

    assert again(sandbox).state == State.RUNNING
    assert result.lines == []


def test_one_that_is_launched_during_a_sweep_is_no_orphan_and_not_lost(
    alice, runtime, monkeypatch, settings
):
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


def test_one_that_cannot_be_removed_keeps_none_of_the_others(alice, bob, runtime, clock):
    stuck, fine = launch(alice), launch(bob)
    expire(stuck, fine)
    runtime.fail_next("destroy", EngineRefused("The engine refused to remove it: device is busy."))
    result = sweep()

    assert again(stuck).state == State.DESTROYING
    assert again(fine).state == State.DESTROYED
    assert result.errors == [
        f"{stuck.public_id} could not be removed: The engine refused to remove it: device is busy."
    ]
    assert "device is busy" in Site.current().reaper_error


def test_it_is_tried_again_with_a_growing_delay_and_the_sweeps_say_so(alice, runtime, clock):
    sandbox = launch(alice)
    expire(sandbox)
    waits = []
    for _ in range(9):
        runtime.fail_next("destroy", EngineRefused("It is busy."))
        assert sweep().errors
        waits.append((again(sandbox).lease_until - timezone.now()).total_seconds())
        clock.forward(seconds=waits[-1] - 1)
        assert sweep().errors, "the next try is not due, and it still is not removed"
        clock.forward(seconds=1)

    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert again(sandbox).removal_attempts == 9
    assert story(sandbox).count("removal_delayed") == 1, "one line for one and the same trouble"
    runtime._failures.clear()
    assert sweep().errors == []
    assert again(sandbox).state == State.DESTROYED
    assert again(sandbox).removal_error == ""


def test_an_unreachable_engine_is_never_read_as_gone(alice, runtime, clock):
    running, unused = launch(alice), request(alice)
    runtime.unreachable = True
    clock.forward(seconds=20)
    result = sweep()

    assert again(running).state == State.RUNNING
    assert again(unused).state == State.PROVISIONING
    assert result.errors[0].startswith("The engine can't be reached")
    assert Site.current().reaped_at == timezone.now()


def test_what_is_due_while_the_engine_is_away_is_finished_when_it_is_back(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(minutes=61)
    runtime.unreachable = True
    sweep()
    assert (again(sandbox).state, again(sandbox).end_reason) == (
        State.DESTROYING,
        EndReason.EXPIRED,
    )

    runtime.unreachable = False
    assert sweep().errors == []
    assert again(sandbox).state == State.DESTROYED
    assert runtime.observe() == {}


def test_an_engine_that_goes_away_in_the_middle_of_a_sweep_is_told(alice, runtime):
    sandbox = launch(alice)
    expire(sandbox)
    once_observed(runtime, lambda: setattr(runtime, "unreachable", True))
    result = sweep()

    assert again(sandbox).state == State.DESTROYING
    assert result.errors
    assert Site.current().reaped_at


def test_an_orphan_is_removed_after_its_grace_and_not_before(alice, runtime, clock):
    runtime.add_orphan("sbx_orphan")
    keeps = launch(alice)
    clock.forward(seconds=59)
    assert sweep().lines == []
    clock.forward(seconds=1)
    result = sweep()

    assert result.counts["orphan"] == 1
    assert list(runtime.observe()) == [keeps.public_id]


def test_what_is_left_of_an_ended_sandbox_is_an_orphan(alice, runtime, clock):
    sandbox = launch(alice)
    with committed():
        actions.destroy(sandbox, alice)
    runtime.add_orphan(sandbox.public_id, timezone.now() - timedelta(minutes=5))
    sweep()

    assert runtime.observe() == {}


def test_an_orphan_that_cannot_be_removed_is_told_and_stops_no_other(alice, runtime):
    old = timezone.now() - timedelta(hours=1)
    runtime.add_orphan("sbx_stuck", old)
    runtime.add_orphan("sbx_other", old)
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    result = sweep()

    assert result.errors == ["sbx_stuck: It is busy."]
    assert list(runtime.observe()) == ["sbx_stuck"]
