"""Resets of the data of running sandboxes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from unittest.mock import Mock

import pytest

from sandboxes import actions
from sandboxes.blueprints import addresses, load
from sandboxes.core import leases
from sandboxes.models import State
from sandboxes.runtime import EngineRefused, EngineUnreachable, NotReady
from sandboxes.worker import resets
from tests.helpers.scenarios import (
    Killed,
    event_kinds,
    last_message,
    launch,
    reload,
    run_on_commit,
    sweep,
)

pytestmark = pytest.mark.django_db

LEASE = leases.LEASE_DURATION.total_seconds()


@pytest.fixture
def failing_reset(runtime) -> None:
    """Make the blueprint's reset command fail."""
    runtime.command_results[tuple(load("billing").reset.command)] = (2, "psql: not welcome")


def test_services_are_recreated_where_the_reset_command_fails(alice, runtime, failing_reset):
    sandbox = launch(alice)
    runtime.set_disk_usage(sandbox.public_id, 500)
    with run_on_commit():
        actions.reset(sandbox, alice)

    assert runtime.recreated == [sandbox.public_id]
    assert reload(sandbox).reset_requested_at is None
    assert reload(sandbox).addresses == sandbox.addresses
    assert event_kinds(sandbox)[-1] == "reset"
    assert "recreated" in last_message(sandbox)


def test_services_are_recreated_where_the_blueprint_has_no_reset_command(
    alice, runtime, monkeypatch
):
    without = replace(load("billing"), reset=None)
    monkeypatch.setattr(resets, "for_sandbox", lambda _: without)
    sandbox = launch(alice)
    runtime.set_disk_usage(sandbox.public_id, 500)
    with run_on_commit():
        actions.reset(sandbox, alice)

    assert runtime.executed == []
    assert runtime.recreated == [sandbox.public_id]
    assert reload(sandbox).addresses == sandbox.addresses
    assert event_kinds(sandbox)[-1] == "reset"


@pytest.mark.parametrize("stopped", [True, False])
def test_services_are_recreated_where_the_reset_command_cannot_run(alice, runtime, stopped):
    sandbox = launch(alice)
    if stopped:
        runtime.stop_service(sandbox.public_id, "db")
    else:
        runtime.fail_next("execute", EngineRefused("It did not end within 20 seconds."))
    with run_on_commit():
        actions.reset(sandbox, alice)

    assert event_kinds(sandbox)[-1] == "reset"
    assert runtime.observe()[sandbox.public_id].alive


def test_a_failed_reset_is_reported_and_changes_nothing(alice, runtime, failing_reset):
    sandbox = launch(alice)
    runtime.set_disk_usage(sandbox.public_id, 500)
    secret = max(sandbox.secrets.values(), key=len)
    runtime.fail_next("ready", NotReady(f"The service db wants {secret}."))
    with run_on_commit():
        actions.reset(sandbox, alice)

    assert reload(sandbox).state == State.RUNNING
    assert reload(sandbox).reset_requested_at is None
    assert reload(sandbox).leased_until is None
    assert last_message(sandbox) == "Couldn't reset the data: The service db wants •••."
    facts = runtime.observe(sizes=True)[sandbox.public_id]
    assert facts.alive
    assert facts.disk_mb == 500
    assert addresses(facts) == sandbox.addresses


@pytest.mark.parametrize("point", ["recreate", "containers", "ready", "discard"])
@pytest.mark.parametrize("kill", [Killed(), EngineUnreachable("The engine did not answer.")])
def test_a_recreation_that_was_interrupted_is_completed(
    alice, runtime, clock, failing_reset, point, kill
):
    sandbox = launch(alice)
    runtime.fail_next(point, kill)
    with suppress(Killed), run_on_commit():
        actions.reset(sandbox, alice)
    assert reload(sandbox).reset_requested_at

    clock.forward(seconds=LEASE)
    sweep()

    assert reload(sandbox).state == State.RUNNING
    assert reload(sandbox).reset_requested_at is None
    assert runtime.observe()[sandbox.public_id].alive
    assert "reset" in event_kinds(sandbox)


def test_the_end_of_a_reset_and_its_event_are_stored_together(alice, runtime, clock, monkeypatch):
    sandbox = launch(alice)
    actions.reset(sandbox, alice)
    with monkeypatch.context() as patch:
        patch.setattr(resets.journal, "record", Mock(side_effect=Killed))
        with pytest.raises(Killed):
            resets.reset(reload(sandbox))
    assert reload(sandbox).reset_requested_at, "no page shows it as finished without a result"

    clock.forward(seconds=LEASE)
    sweep()
    assert reload(sandbox).reset_requested_at is None
    assert "reset" in event_kinds(sandbox)


def test_a_sandbox_destroyed_while_it_is_recreated_leaves_nothing_behind(
    alice, runtime, monkeypatch, failing_reset
):
    sandbox = launch(alice)
    real = runtime.recreate

    def destroyed_meanwhile(spec, report, timeout):
        with run_on_commit():
            actions.destroy(reload(sandbox), alice)
        return real(spec, report, timeout)

    monkeypatch.setattr(runtime, "recreate", destroyed_meanwhile)
    with run_on_commit():
        actions.reset(sandbox, alice)

    assert reload(sandbox).state == State.DESTROYED
    assert runtime.observe() == {}
    assert "reset" not in event_kinds(sandbox)


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
    resets.reset(first)
    resets.reset(second)

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
    resets.reset(reload(sandbox))
    resets.reset(seen[0])

    assert len(seen) == len(runtime.executed) == 1
    assert event_kinds(sandbox).count("reset") == 1
