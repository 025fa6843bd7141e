"""Provisioning: a sandbox is created once, or fails with a reason."""

from __future__ import annotations

import pytest
from django.utils import timezone

from sandboxes import actions
from sandboxes.core import lifecycle
from sandboxes.models import EndReason, Sandbox, State
from sandboxes.runtime import CapacityExhausted, EngineRefused, EngineUnreachable
from sandboxes.worker import tasks as worker_tasks
from sandboxes.worker.progress import Progress
from tests.helpers.scenarios import (
    event_kinds,
    last_message,
    launch,
    reload,
    request,
    run_on_commit,
    sweep,
)

pytestmark = pytest.mark.django_db


def test_a_task_delivered_twice_provisions_one_sandbox(alice, runtime):
    sandbox = request(alice)
    worker_tasks.provision(sandbox.public_id)
    worker_tasks.provision(sandbox.public_id)

    assert reload(sandbox).lease_token == 1
    assert len(runtime.observe()) == 1
    assert event_kinds(sandbox) == ["requested", "provisioning", "running"]


def test_steps_record_state_and_duration(alice, runtime, clock):
    sandbox = request(alice)
    lifecycle.start_provisioning(sandbox)
    progress = Progress(sandbox)
    progress.report("network")
    clock.forward(seconds=2)
    progress.report("containers")
    clock.forward(seconds=1)

    steps = reload(sandbox).steps
    assert [(s["name"], s["state"], s["seconds"]) for s in steps] == [
        ("network", "done", 2.0),
        ("containers", "running", None),
    ]


def test_a_long_step_renews_the_lease(alice, runtime, clock):
    sandbox = request(alice)
    lifecycle.start_provisioning(sandbox)
    progress = Progress(sandbox)
    for _ in range(20):
        progress.report("ready")
        clock.forward(seconds=4)

    assert reload(sandbox).leased_until > timezone.now()
    assert not lifecycle.start_provisioning(reload(sandbox))


def test_the_blueprint_receives_the_launch_time_but_not_the_stellar_secret(
    alice, runtime, monkeypatch
):
    seen = []
    real = runtime.create
    monkeypatch.setattr(runtime, "create", lambda s, r, t: (seen.append(s), real(s, r, t))[1])
    sandbox = launch(alice)

    environment = {k: v for s in seen[0].services for k, v in s.environment.items()}
    assert sandbox.created_at.isoformat() in environment.values()
    assert sandbox.secrets["STELLAR_SECRET"] not in environment.values()


def test_a_delayed_worker_does_not_touch_the_running_sandbox(alice, runtime, clock, monkeypatch):
    sandbox = request(alice)
    real = runtime.create

    def stopped_for_a_while(spec, report, timeout):
        report("network")
        monkeypatch.setattr(runtime, "create", real)
        clock.forward(seconds=31)
        worker_tasks.provision(sandbox.public_id)
        report("containers")
        raise AssertionError("the report should have raised LeaseLost")

    monkeypatch.setattr(runtime, "create", stopped_for_a_while)
    worker_tasks.provision(sandbox.public_id)

    assert reload(sandbox).state == State.RUNNING
    assert reload(sandbox).lease_token == 2
    assert runtime.observe()[sandbox.public_id].alive


def test_objects_created_after_the_end_are_removed(alice, runtime, clock, monkeypatch):
    sandbox = request(alice)
    real = runtime.create

    def destroyed_meanwhile(spec, report, timeout):
        with run_on_commit():
            actions.destroy(reload(sandbox), alice)
        assert reload(sandbox).state == State.DESTROYED
        return real(spec, lambda _: None, timeout)

    monkeypatch.setattr(runtime, "create", destroyed_meanwhile)
    worker_tasks.provision(sandbox.public_id)

    assert reload(sandbox).state == State.DESTROYED
    assert runtime.observe() == {}


def test_a_failure_is_reported_and_cleaned_up(alice, runtime):
    sandbox = request(alice)
    runtime.fail_startup("api", 3, "could not open the configuration")
    worker_tasks.provision(sandbox.public_id)

    sandbox = reload(sandbox)
    assert (sandbox.state, sandbox.end_reason) == (State.FAILED, EndReason.PROVISION_FAILED)
    assert (sandbox.failure["service"], sandbox.failure["exit_code"]) == ("api", 3)
    assert "could not open the configuration" in sandbox.failure["log_tail"]
    assert "api stopped with exit code 3" in sandbox.end_message
    assert sandbox.steps[-1]["state"] == "failed"
    assert runtime.observe() == {}
    assert not alice.sandboxes.active().exists()


def test_a_log_tail_contains_no_secrets(alice, runtime):
    sandbox = launch(alice)
    secret = max(sandbox.secrets.values(), key=len)
    runtime.write_log(sandbox.public_id, "api", f"cannot sign in with {secret}!")
    runtime.stop_service(sandbox.public_id, "api", 1)
    sweep()

    tail = reload(sandbox).failure["log_tail"]
    assert "cannot sign in with •••!" in tail
    assert secret not in tail


def test_a_missing_image_fails_the_launch(alice, runtime):
    from sandboxes.blueprints import load

    runtime.missing_images.update(load("billing").images)
    sandbox = request(alice)
    worker_tasks.provision(sandbox.public_id)

    assert reload(sandbox).end_reason == EndReason.PROVISION_FAILED
    assert "no such image" in reload(sandbox).end_message


def test_without_free_subnets_the_launch_is_rolled_back(alice, runtime):
    runtime.capacity = 1
    launch(alice)
    sandbox = request(alice)
    worker_tasks.provision(sandbox.public_id)

    assert reload(sandbox).state == State.FAILED
    assert "subnets" in reload(sandbox).end_message
    assert len(runtime.observe()) == 1
    assert alice.sandboxes.active().count() == 1


def test_a_start_that_takes_too_long_fails(alice, runtime, settings):
    settings.SANDBOX_PROVISION_TIMEOUT_SECONDS = 0
    runtime.slow_seconds = 0.001
    sandbox = request(alice)
    worker_tasks.provision(sandbox.public_id)

    assert reload(sandbox).end_reason == EndReason.PROVISION_FAILED
    assert "did not answer" in reload(sandbox).end_message


def test_a_removed_blueprint_fails_waiting_launches(alice, runtime):
    sandbox = request(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(blueprint="gone")
    worker_tasks.provision(sandbox.public_id)

    assert reload(sandbox).state == State.FAILED
    assert "no valid blueprint “gone”" in reload(sandbox).end_message


def test_a_failed_cleanup_keeps_the_original_failure(alice, runtime, clock):
    sandbox = request(alice)
    runtime.fail_next("ready", CapacityExhausted("All ports are taken."))
    runtime.fail_next("destroy", EngineRefused("The engine refused to remove it."))
    worker_tasks.provision(sandbox.public_id)

    sandbox = reload(sandbox)
    assert (sandbox.state, sandbox.end_message) == (State.DESTROYING, "All ports are taken.")
    assert not alice.sandboxes.active().exists()

    clock.forward(seconds=6)
    sweep()
    assert (reload(sandbox).state, reload(sandbox).end_message) == (
        State.FAILED,
        "All ports are taken.",
    )


def test_an_unreachable_engine_delays_a_launch_without_failing_it(alice, runtime, clock):
    sandbox = request(alice)
    runtime.unreachable = True
    worker_tasks.provision(sandbox.public_id)
    assert reload(sandbox).state == State.PROVISIONING
    assert "Retrying" in last_message(sandbox)

    runtime.unreachable = False
    clock.forward(seconds=6)
    sweep()

    assert reload(sandbox).state == State.RUNNING


def test_a_lost_reply_of_the_engine_does_not_create_a_second_sandbox(alice, runtime, clock):
    sandbox = request(alice)
    runtime.fail_next("ready", EngineUnreachable("The engine did not answer."))
    worker_tasks.provision(sandbox.public_id)
    assert len(runtime.observe()) == 1

    clock.forward(seconds=6)
    sweep()

    assert reload(sandbox).state == State.RUNNING
    assert len(runtime.observe()) == 1


def test_an_engine_that_stays_unreachable_fails_the_launch(alice, runtime, clock):
    sandbox = request(alice)
    runtime.unreachable = True
    for _ in range(25):
        sweep()
        clock.forward(seconds=30)

    sandbox = reload(sandbox)
    assert (sandbox.state, sandbox.end_reason) == (State.DESTROYING, EndReason.PROVISION_FAILED)
    assert not alice.sandboxes.active().exists()
    runtime.unreachable = False
    clock.forward(minutes=10)
    sweep()
    assert reload(sandbox).state == State.FAILED
