"""The worker is killed at every point; the next sweep completes or undoes its work."""

from __future__ import annotations

import pytest

from sandboxes import actions
from sandboxes.core import leases, lifecycle
from sandboxes.models import State
from sandboxes.worker import tasks as worker_tasks
from tests.helpers.scenarios import (
    Killed,
    launch,
    reload,
    request,
    run_on_commit,
    sweep,
)

pytestmark = [pytest.mark.django_db, pytest.mark.store]

LEASE = leases.LEASE_DURATION.total_seconds()


def lost_after(monkeypatch, module, name: str) -> None:
    """Kill the process right after this function returns."""
    real = getattr(module, name)

    def do_and_die(*args, **kwargs):
        real(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(module, name, do_and_die)


def lost_before(monkeypatch, module, name: str) -> None:
    """Kill the process right before this function runs."""

    def die(*_, **__):
        raise Killed

    monkeypatch.setattr(module, name, die)


KILLED_IN = ["create", "network", "containers", "ready"]


@pytest.mark.parametrize("point", KILLED_IN)
def test_killed_while_provisioning_the_next_worker_completes_the_sandbox(
    alice, runtime, clock, point
):
    sandbox = request(alice)
    runtime.fail_next(point, Killed())
    with pytest.raises(Killed):
        worker_tasks.provision(sandbox.public_id)
    assert reload(sandbox).state == State.PROVISIONING

    sweep()
    assert reload(sandbox).state == State.PROVISIONING, "the lease is still valid"
    clock.forward(seconds=LEASE)
    sweep()

    assert reload(sandbox).state == State.RUNNING
    assert reload(sandbox).lease_token == 2
    assert list(runtime.observe()) == [sandbox.public_id]


@pytest.mark.parametrize(
    ("module", "name", "kill"),
    [
        (lifecycle, "start_provisioning", lost_before),
        (lifecycle, "start_provisioning", lost_after),
        (leases, "renew_lease", lost_before),
        (leases, "renew_lease", lost_after),
        (lifecycle, "mark_ready", lost_before),
        (lifecycle, "mark_ready", lost_after),
    ],
)
def test_killed_around_any_write_nothing_stays_stuck(
    alice, runtime, clock, monkeypatch, module, name, kill
):
    sandbox = request(alice)
    with monkeypatch.context() as patch:
        kill(patch, module, name)
        with pytest.raises(Killed):
            worker_tasks.provision(sandbox.public_id)

    clock.forward(seconds=LEASE)
    sweep()

    assert reload(sandbox).state == State.RUNNING
    assert reload(sandbox).leased_until is None
    assert len(runtime.observe()) == 1


@pytest.mark.parametrize("point", KILLED_IN)
def test_destroy_after_the_worker_was_killed_leaves_nothing_behind(alice, runtime, clock, point):
    sandbox = request(alice)
    runtime.fail_next(point, Killed())
    with pytest.raises(Killed):
        worker_tasks.provision(sandbox.public_id)

    with run_on_commit():
        actions.destroy(reload(sandbox), alice)

    assert reload(sandbox).state == State.DESTROYED
    assert runtime.observe() == {}
    assert not alice.sandboxes.active().exists()


@pytest.mark.parametrize(
    ("module", "name", "kill"),
    [
        (leases, "acquire_lease", lost_before),
        (leases, "acquire_lease", lost_after),
        (lifecycle, "mark_destroyed", lost_before),
        (lifecycle, "mark_destroyed", lost_after),
    ],
)
def test_killed_during_teardown_the_next_sweep_finishes(
    alice, runtime, clock, monkeypatch, module, name, kill
):
    sandbox = launch(alice)
    with monkeypatch.context() as patch:
        kill(patch, module, name)
        with pytest.raises(Killed), run_on_commit():
            actions.destroy(sandbox, alice)
    assert not alice.sandboxes.active().exists(), "the slot is free already"

    clock.forward(seconds=LEASE)
    assert sweep().errors == []

    assert reload(sandbox).state == State.DESTROYED
    assert runtime.observe() == {}


def test_killed_during_the_engine_removal_the_next_sweep_finishes(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.fail_next("destroy", Killed())
    with pytest.raises(Killed), run_on_commit():
        actions.destroy(sandbox, alice)
    clock.forward(seconds=LEASE)
    sweep()

    assert reload(sandbox).state == State.DESTROYED
    assert runtime.observe() == {}


def test_killed_between_a_failure_and_its_recording_the_sandbox_still_fails(
    alice, runtime, clock, monkeypatch
):
    sandbox = request(alice)
    runtime.fail_startup("api", 3)
    with monkeypatch.context() as patch:
        lost_before(patch, lifecycle, "begin_destroy")
        with pytest.raises(Killed):
            worker_tasks.provision(sandbox.public_id)
    clock.forward(seconds=LEASE)
    runtime.fail_startup("api", 3)
    sweep()

    assert reload(sandbox).state == State.FAILED
    assert runtime.observe() == {}


def test_killed_during_a_reset_the_next_worker_completes_it(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.fail_next("execute", Killed())
    with pytest.raises(Killed), run_on_commit():
        actions.reset(sandbox, alice)
    sweep()
    assert runtime.executed == []

    clock.forward(seconds=LEASE)
    sweep()

    assert len(runtime.executed) == 1
    assert reload(sandbox).reset_requested_at is None
