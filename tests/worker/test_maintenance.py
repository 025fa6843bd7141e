"""Maintenance of running sandboxes: reset, restart and recreation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sandboxes import actions
from sandboxes.core import leases
from sandboxes.models import EndReason, State
from sandboxes.runtime import EngineRefused, EngineUnreachable, ServiceState
from sandboxes.worker import maintenance
from sandboxes.worker import tasks as worker_tasks
from tests.helpers.scenarios import (
    Killed,
    after_next_observe,
    event_kinds,
    last_message,
    launch,
    reload,
    run_on_commit,
    sweep,
)

pytestmark = [pytest.mark.django_db, pytest.mark.store]

LEASE = leases.LEASE_DURATION.total_seconds()


def test_a_failed_reset_is_reported_and_keeps_the_sandbox(alice, runtime):
    from sandboxes.blueprints import load

    sandbox = launch(alice)
    secret = max(sandbox.secrets.values(), key=len)
    command = tuple(load("billing").reset.command)
    runtime.command_results[command] = (2, f"psql: {secret} is not welcome")
    with run_on_commit():
        actions.reset(sandbox, alice)

    assert reload(sandbox).state == State.RUNNING
    assert reload(sandbox).reset_requested_at is None
    assert last_message(sandbox) == "Couldn't reset the data: psql: ••• is not welcome"


def test_a_reset_waits_for_an_unreachable_engine(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.unreachable = True
    with run_on_commit():
        actions.reset(sandbox, alice)
    assert reload(sandbox).reset_requested_at

    runtime.unreachable = False
    clock.forward(seconds=11)
    sweep()
    assert len(runtime.executed) == 1


def test_a_reset_of_a_sandbox_that_ended_meanwhile_records_nothing(alice, runtime, monkeypatch):
    sandbox = launch(alice)

    def destroyed_meanwhile(*_):
        with run_on_commit():
            actions.destroy(reload(sandbox), alice)
        raise EngineRefused("No such container.")

    monkeypatch.setattr(runtime, "execute", destroyed_meanwhile)
    with run_on_commit():
        actions.reset(sandbox, alice)

    assert reload(sandbox).state == State.DESTROYED
    assert event_kinds(sandbox)[-1] == "destroyed"


def test_a_reset_sent_to_two_workers_runs_once(alice, runtime):
    sandbox = launch(alice)
    actions.reset(sandbox, alice)
    first, second = reload(sandbox), reload(sandbox)
    maintenance.reset(first)
    maintenance.reset(second)

    assert len(runtime.executed) == 1
    assert event_kinds(sandbox).count("reset") == 1


def test_a_reset_read_while_another_worker_performs_it_runs_once(alice, runtime, monkeypatch):
    sandbox = launch(alice)
    actions.reset(sandbox, alice)
    real, seen = runtime.execute, []

    def read_meanwhile(*args):
        seen.append(reload(sandbox))
        return real(*args)

    monkeypatch.setattr(runtime, "execute", read_meanwhile)
    maintenance.reset(reload(sandbox))
    maintenance.reset(seen[0])

    assert len(seen) == len(runtime.executed) == 1
    assert event_kinds(sandbox).count("reset") == 1


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
    assert after.addresses != sandbox.addresses, "the new ports are recorded"
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
    maintenance.repair(reload(sandbox))

    assert reload(sandbox).state == State.DESTROYED
    assert runtime.observe() == {}


def test_a_crashed_service_is_not_mistaken_for_one_stopped_with_the_engine(alice, runtime):
    sandbox = launch(alice)
    runtime.restart_engine()
    runtime.stop_service(sandbox.public_id, "api", 1)
    assert runtime.observe()[sandbox.public_id].services["api"].state is ServiceState.EXITED
    sweep()

    assert reload(sandbox).end_reason == EndReason.CRASHED
