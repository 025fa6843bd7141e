"""Sweeps that find sandboxes unreachable although their services run."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sandboxes.models import EndReason, Sandbox, State
from sandboxes.reaper.sweep import Sweep
from sandboxes.runtime import EngineRefused, ServiceState
from sandboxes.worker import tasks as worker_tasks
from tests.helpers.scenarios import (
    event_kinds,
    launch,
    pooled,
    reload,
    request,
    run_on_commit,
    state_and_reason,
    sweep,
)

pytestmark = pytest.mark.django_db


def pause(runtime, name):
    runtime.change_service(name, "db", state=ServiceState.PAUSED)


def pause_all(runtime, name):
    for service in ("db", "api"):
        runtime.change_service(name, service, state=ServiceState.PAUSED)


def disconnect(runtime, name):
    runtime.change_service(name, "api", connected=False, ports={})


def unpublish(runtime, name):
    runtime.change_service(name, "db", ports={})


def hang(runtime, name):
    runtime.break_ports(name, "The service api doesn't respond to GET /readyz.")


def restart_engine(runtime, name):
    runtime.restart_engine()


FAULTS = pytest.mark.parametrize("breaks", [pause, pause_all, disconnect, unpublish, hang])


@FAULTS
def test_a_broken_sandbox_is_repaired_after_one_sweep(alice, runtime, breaks):
    sandbox = launch(alice)
    breaks(runtime, sandbox.public_id)
    result = sweep()

    after = reload(sandbox)
    assert (after.state, after.problem, after.leased_until) == (State.RUNNING, "", None)
    assert result.counts["repair"] == 1
    assert after.addresses == sandbox.addresses, "the ports are reserved"
    message = sandbox.events.get(kind="revived").message
    assert message.endswith("Data and credentials are unchanged.")
    assert sweep().lines == [], "nothing is left to repair"


@FAULTS
def test_a_broken_pooled_sandbox_is_replaced_after_one_sweep(runtime, settings, breaks):
    settings.SANDBOX_POOL_SIZE = 1
    sweep()
    [broken] = pooled()
    breaks(runtime, broken.public_id)
    sweep()

    assert state_and_reason(broken) == (State.DESTROYED, EndReason.RETIRED)
    [fresh] = pooled()
    assert list(runtime.observe()) == [fresh.public_id]


@pytest.mark.parametrize("breaks", [pause, pause_all, disconnect, unpublish, hang, restart_engine])
def test_a_sandbox_that_broke_in_the_pool_is_repaired_when_claimed(
    alice, runtime, settings, breaks
):
    settings.SANDBOX_POOL_SIZE = 1
    sweep()
    [warm] = pooled()
    breaks(runtime, warm.public_id)
    with run_on_commit():
        request(alice)

    given = reload(warm)
    assert (given.state, given.secrets) == (State.RUNNING, warm.secrets)
    assert len(given.addresses) == len(warm.addresses)
    assert runtime.observe()[given.public_id].connected
    assert "revived" in event_kinds(given)
    assert sweep().lines == []


def test_until_a_worker_repairs_it_the_owner_sees_what_is_broken(alice, runtime):
    sandbox = launch(alice)
    pause(runtime, sandbox.public_id)
    Sweep().run()

    assert reload(sandbox).problem == "The service db was paused."


def test_the_stopped_services_of_a_sandbox_have_no_addresses(alice, runtime):
    """Another program may listen on a freed port, and must not get the owner's key."""
    sandbox = launch(alice)
    runtime.restart_engine()
    Sweep().run()

    assert reload(sandbox).addresses == {}


def test_a_sandbox_that_cannot_be_repaired_ends_with_the_reason(alice, runtime):
    sandbox = launch(alice)
    pause(runtime, sandbox.public_id)
    runtime.fail_next("repair", EngineRefused("The engine refused to resume the service db."))
    sweep()

    assert state_and_reason(sandbox) == (State.FAILED, EndReason.LOST)
    assert "resume the service db" in reload(sandbox).end_message


def test_a_sandbox_without_its_containers_is_lost_instead_of_seeded_again(alice, runtime):
    sandbox = launch(alice)
    runtime.remove_externally(sandbox.public_id)
    worker_tasks.repair(sandbox.public_id)

    assert state_and_reason(sandbox) == (State.FAILED, EndReason.LOST)
    assert runtime.observe() == {}


def test_a_used_sandbox_is_never_recreated_by_a_late_verification(alice, runtime, clock, settings):
    settings.SANDBOX_POOL_SIZE = 1
    sweep()
    sandbox = request(alice)
    clock.forward(minutes=1)
    runtime.add_traffic(sandbox.public_id)
    sweep()
    runtime.stop_service(sandbox.public_id, "api", 3)
    worker_tasks.verify_claimed(sandbox.public_id)

    assert "revived" not in event_kinds(sandbox)
    sweep()
    assert state_and_reason(sandbox) == (State.FAILED, EndReason.CRASHED)


def test_a_sandbox_that_responds_but_is_not_ready_is_left_alone_and_reported(alice, runtime, clock):
    sandbox = launch(alice)
    problem = "The service api isn't ready: GET /readyz returns 503."
    runtime.break_ports(sandbox.public_id, problem, responded=True)
    sweep()
    clock.forward(minutes=1)
    assert sweep().lines == []

    after = reload(sandbox)
    assert (after.state, after.problem) == (State.RUNNING, problem)
    assert after.addresses == sandbox.addresses, "it wasn't restarted"
    assert after.last_activity_at == sandbox.last_activity_at
    assert event_kinds(sandbox).count("unhealthy") == 1

    runtime.break_ports(sandbox.public_id, "")
    sweep()
    assert reload(sandbox).problem == ""


@pytest.mark.slow
def test_probes_are_not_activity(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    for _ in range(31):
        clock.forward(minutes=1)
        sweep()

    assert runtime.probed[sandbox.public_id] == 30
    assert reload(sandbox).end_reason == EndReason.IDLE


@pytest.mark.slow
def test_requests_between_two_probes_are_activity(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    for _ in range(31):
        clock.forward(minutes=1)
        runtime.add_traffic(sandbox.public_id, sent=300)
        sweep()

    assert reload(sandbox).last_activity_at == timezone.now()


def test_each_sweep_probes_each_sandbox_once_and_none_on_which_a_worker_works(alice, bob, runtime):
    sandbox, busy = launch(alice), launch(bob)
    Sandbox.objects.filter(pk=busy.pk).update(leased_until=timezone.now() + timedelta(minutes=1))
    sweep()

    assert runtime.probed == {sandbox.public_id: 1}


def test_without_a_result_of_the_probes_nothing_is_repaired(alice, runtime):
    sandbox = launch(alice)
    runtime.fail_next("probe", EngineRefused("It is busy."))
    result = sweep()

    assert (result.errors, result.lines) == (["probes: It is busy."], [])
    assert reload(sandbox).state == State.RUNNING
