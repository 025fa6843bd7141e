"""Restarts, repairs and recreations of running sandboxes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sandboxes import actions
from sandboxes.core import leases
from sandboxes.models import EndReason, State
from sandboxes.runtime import EngineUnreachable, ServiceState
from sandboxes.worker import repairs
from sandboxes.worker import tasks as worker_tasks
from tests.helpers.scenarios import (
    Killed,
    after_next_observe,
    event_kinds,
    launch,
    reload,
    run_on_commit,
    sweep,
)

pytestmark = pytest.mark.django_db

LEASE = leases.LEASE_DURATION.total_seconds()


def test_a_sandbox_that_two_workers_see_broken_is_recreated_once(alice, runtime):
    sandbox = launch(alice)
    runtime.stop_service(sandbox.public_id, "api", 3)
    after_next_observe(runtime, lambda: worker_tasks.verify_claimed(sandbox.public_id))
    worker_tasks.verify_claimed(sandbox.public_id)

    assert reload(sandbox).state == State.RUNNING
    assert event_kinds(sandbox).count("revived") == 1


def test_a_sandbox_that_stopped_with_its_engine_is_restarted(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.restart_engine()
    clock.forward(minutes=31)
    sweep()

    after = reload(sandbox)
    facts = runtime.observe()[sandbox.public_id]
    assert after.state == State.RUNNING
    assert facts.alive
    assert after.addresses == sandbox.addresses, "the ports are reserved"
    assert after.idle_expires_at == timezone.now() + timedelta(minutes=30)
    assert after.expires_at == sandbox.expires_at
    assert after.leased_until is None
    assert "revived" in event_kinds(sandbox)


def test_a_sandbox_that_cannot_restart_ends_as_lost(alice, runtime):
    sandbox = launch(alice)
    runtime.restart_engine()
    runtime.fail_startup("db", 1, "data directory is damaged")
    sweep()

    sandbox = reload(sandbox)
    assert (sandbox.state, sandbox.end_reason) == (State.FAILED, EndReason.LOST)
    assert "data directory is damaged" in sandbox.failure["log_tail"]
    assert runtime.observe() == {}


def test_killed_during_a_restart_the_next_worker_continues(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.restart_engine()
    runtime.fail_next("repair", Killed())
    with pytest.raises(Killed):
        worker_tasks.repair(sandbox.public_id)
    clock.forward(seconds=LEASE)
    sweep()

    assert reload(sandbox).state == State.RUNNING
    assert runtime.observe()[sandbox.public_id].alive


def test_a_restart_waits_for_an_engine_that_became_unreachable_again(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.restart_engine()
    runtime.fail_next("repair", EngineUnreachable("The engine did not answer."))
    sweep()
    assert reload(sandbox).state == State.RUNNING

    clock.forward(seconds=6)
    sweep()
    assert runtime.observe()[sandbox.public_id].alive


def test_destroy_during_a_restart_leaves_nothing_behind(alice, runtime, monkeypatch):
    sandbox = launch(alice)
    runtime.restart_engine()
    real = runtime.repair

    def destroyed_meanwhile(spec, report, timeout):
        done = real(spec, lambda _: None, timeout)
        with run_on_commit():
            actions.destroy(reload(sandbox), alice)
        return done

    monkeypatch.setattr(runtime, "repair", destroyed_meanwhile)
    repairs.repair(reload(sandbox))

    assert reload(sandbox).state == State.DESTROYED
    assert runtime.observe() == {}


def test_a_service_that_crashes_before_its_repair_is_not_started_again(alice, runtime):
    sandbox = launch(alice)
    runtime.stop_service(sandbox.public_id, "db", 137, oom=True)
    worker_tasks.repair(sandbox.public_id)
    assert runtime.observe()[sandbox.public_id].services["db"].state is ServiceState.EXITED

    sweep()
    assert reload(sandbox).end_reason == EndReason.OUT_OF_MEMORY


def test_a_crashed_service_is_not_mistaken_for_one_stopped_with_the_engine(alice, runtime):
    sandbox = launch(alice)
    runtime.restart_engine()
    runtime.stop_service(sandbox.public_id, "api", 1)
    assert runtime.observe()[sandbox.public_id].services["api"].state is ServiceState.EXITED
    sweep()

    assert reload(sandbox).end_reason == EndReason.CRASHED
