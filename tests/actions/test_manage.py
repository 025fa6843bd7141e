"""Actions of owners on sandboxes: success, rejection and repetition."""

from __future__ import annotations

import pytest

from sandboxes import actions
from sandboxes.actions import LaunchRequest
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import EndReason, Event, Funding, Sandbox, State
from sandboxes.worker import provisioning
from tests.helpers.scenarios import (
    event_kinds,
    launch,
    reload,
    request,
    run_on_commit,
    sweep,
)

pytestmark = pytest.mark.django_db


def test_a_reset_runs_the_blueprints_command_and_keeps_the_endpoints(alice, runtime):
    sandbox = launch(alice)
    before = sandbox.addresses, actions.read_credentials(sandbox, alice)

    with run_on_commit():
        actions.reset(sandbox, alice)

    assert [(name, service) for name, service, _ in runtime.executed] == [(sandbox.public_id, "db")]
    assert (reload(sandbox).addresses, actions.read_credentials(sandbox, alice)) == before
    assert reload(sandbox).reset_requested_at is None
    assert "reset" in event_kinds(sandbox)


def test_a_reset_requested_twice_runs_once(alice, runtime):
    sandbox = launch(alice)
    with run_on_commit():
        actions.reset(sandbox, alice)
        actions.reset(sandbox, alice)

    assert len(runtime.executed) == 1
    assert event_kinds(sandbox).count("reset_requested") == 1


def test_an_owner_can_destroy_a_sandbox(alice, runtime):
    sandbox = launch(alice)
    with run_on_commit():
        actions.destroy(sandbox, alice)

    sandbox = reload(sandbox)
    assert (sandbox.state, sandbox.end_reason) == (State.DESTROYED, EndReason.USER)
    assert runtime.observe() == {}


def test_destroying_again_has_no_effect(alice, runtime):
    sandbox = launch(alice)
    for _ in range(2):
        with run_on_commit():
            actions.destroy(sandbox, alice)
    journal = event_kinds(sandbox)
    with run_on_commit():
        actions.destroy(sandbox, alice)

    assert reload(sandbox).state == State.DESTROYED
    assert event_kinds(sandbox) == journal


def test_a_pending_launch_can_be_destroyed(alice, runtime):
    sandbox = request(alice)
    with run_on_commit():
        actions.destroy(sandbox, alice)
    provisioning.provision(reload(sandbox))

    assert reload(sandbox).state == State.DESTROYED
    assert runtime.observe() == {}


def test_an_operators_reason_is_shown_in_the_journal_and_on_the_card(alice, olga, runtime):
    sandbox = launch(alice)
    with run_on_commit():
        actions.destroy(sandbox, olga, "Mining coins.")

    sandbox = reload(sandbox)
    line = sandbox.events.get(kind="ending")
    assert (sandbox.end_reason, sandbox.end_message) == (EndReason.OPERATOR, "Mining coins.")
    assert (line.actor_role, line.actor, line.message) == ("operator", olga, "Mining coins.")


def test_viewing_credentials_is_journaled_without_secrets(alice, runtime):
    sandbox = launch(alice)
    shown = actions.read_credentials(sandbox, alice)
    actions.read_credentials(sandbox, alice)

    assert event_kinds(sandbox).count("credentials_read") == 2
    journal = "".join(f"{e.message}{e.data}" for e in Event.objects.all())
    assert not any(secret in journal for secret in shown.values())


def test_only_a_running_sandbox_has_credentials(alice, runtime):
    sandbox = launch(alice)
    with run_on_commit():
        actions.destroy(sandbox, alice)

    with pytest.raises(StateConflict, match="this one is destroyed"):
        actions.read_credentials(sandbox, alice)


def test_funding_can_be_retried(alice, runtime):
    sandbox = launch(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(
        funding=Funding.FAILED, funding_attempts=10, funding_due_at=None
    )

    actions.retry_funding(sandbox, alice)

    assert (sandbox.funding, sandbox.funding_attempts) == (Funding.PENDING, 0)
    assert sandbox.funding_due_at
    assert event_kinds(sandbox)[-1] == "funding_asked"


def test_a_funded_account_is_not_funded_again(alice, runtime):
    sandbox = launch(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(funding=Funding.FUNDED)

    with pytest.raises(StateConflict, match="already funded"):
        actions.retry_funding(sandbox, alice)


def test_actions_on_a_sandbox_that_has_just_ended_are_rejected(alice, runtime, clock):
    sandbox = launch(alice)
    stale = reload(sandbox)
    clock.forward(minutes=61)
    sweep()

    for ask in (actions.touch, actions.reset):
        with pytest.raises(StateConflict, match="this one is destroyed"):
            ask(stale, alice)
    with pytest.raises(StateConflict, match="this one is destroyed"):
        actions.extend(stale, 10, alice)


def test_an_unreachable_queue_is_not_an_error_for_the_caller(alice, runtime, monkeypatch):
    from sandboxes.worker import tasks as worker_tasks

    def unreachable(*_):
        raise ConnectionRefusedError

    monkeypatch.setattr(worker_tasks.provision, "delay", unreachable)
    with run_on_commit():
        sandbox, _ = actions.launch_sandbox(alice, LaunchRequest())

    assert reload(sandbox).state == State.PENDING
