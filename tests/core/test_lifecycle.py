"""State transitions, and the constraints of the database that enforce them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from sandboxes import blueprints
from sandboxes.core import (
    factory,
    journal,
    leases,
    lifecycle,
)
from sandboxes.models import FAILURE_REASONS, TERMINAL_STATES, EndReason, Sandbox, State
from tests.helpers.scenarios import (
    event_kinds,
    launch,
    reload,
    request,
)

pytestmark = pytest.mark.django_db


def pooled() -> Sandbox:
    """Return a sandbox that waits in the pool."""
    sandbox = lifecycle.create_pending(
        factory.new_sandbox(blueprints.load("billing"), from_pool=True), None
    )
    lifecycle.start_provisioning(sandbox)
    lifecycle.mark_ready(sandbox, {}, 0)
    return reload(sandbox)


def in_state(alice, state: State) -> Sandbox:
    """Return a sandbox of alice that reached the state through valid transitions."""
    if state == State.POOLED:
        return pooled()
    sandbox = request(alice)
    if state in (State.PROVISIONING, State.RUNNING):
        lifecycle.start_provisioning(sandbox)
    if state == State.RUNNING:
        lifecycle.mark_ready(sandbox, {}, 0)
    if state in (State.DESTROYING, *TERMINAL_STATES):
        reason = EndReason.CRASHED if state == State.FAILED else EndReason.USER
        lifecycle.begin_destroy(sandbox, reason, "Enough.")
    if state in TERMINAL_STATES:
        lifecycle.mark_destroyed(sandbox)
    assert reload(sandbox).state == state
    return reload(sandbox)


ARROWS = {
    "take": ({State.PENDING}, lifecycle.start_provisioning),
    "run": ({State.PROVISIONING}, lambda s: lifecycle.mark_ready(s, {}, 0)),
    "end": (
        {State.PENDING, State.PROVISIONING, State.POOLED, State.RUNNING},
        lambda s: lifecycle.begin_destroy(s, EndReason.USER, "Enough."),
    ),
    "finish": ({State.DESTROYING}, lifecycle.mark_destroyed),
    "claim": (
        {State.POOLED},
        lambda s: lifecycle.assign(s, s.owner or User.objects.get(), 60, slot=9),
    ),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("arrow", ARROWS)
def test_only_the_documented_transitions_are_possible(alice, arrow, state):
    sandbox = in_state(alice, state)
    allowed, follow = ARROWS[arrow]
    before = event_kinds(sandbox)

    moved = follow(sandbox)

    assert moved == (state in allowed)
    assert (reload(sandbox).state != state) == moved
    lines = 2 if arrow == "claim" else 1
    assert len(event_kinds(sandbox)) == len(before) + lines * moved


def test_every_transition_is_in_the_journal(alice):
    sandbox = in_state(alice, State.RUNNING)
    lifecycle.begin_destroy(sandbox, EndReason.USER, "Enough.", actor=alice)
    lifecycle.mark_destroyed(sandbox)

    assert event_kinds(sandbox) == ["requested", "provisioning", "running", "ending", "destroyed"]
    assert [event.actor_role for event in sandbox.events.all()] == [
        "owner",
        "portal",
        "portal",
        "owner",
        "portal",
    ]


def test_without_its_journal_event_a_transition_is_rolled_back(alice, monkeypatch):
    sandbox = in_state(alice, State.RUNNING)

    def broken(*_, **__):
        raise RuntimeError("disk full")

    monkeypatch.setattr(journal, "record", broken)
    with pytest.raises(RuntimeError):
        lifecycle.begin_destroy(sandbox, EndReason.USER, "Enough.")

    assert reload(sandbox).state == State.RUNNING


@pytest.mark.parametrize("reason", EndReason)
def test_the_end_reason_determines_whether_it_failed(alice, reason):
    sandbox = in_state(alice, State.RUNNING)
    lifecycle.begin_destroy(sandbox, reason, "Why it ended.")
    lifecycle.mark_destroyed(sandbox)

    assert reload(sandbox).state == (State.FAILED if reason in FAILURE_REASONS else State.DESTROYED)
    assert reload(sandbox).end_reason == reason


def test_an_ending_sandbox_frees_its_slot_at_once(alice):
    sandbox = in_state(alice, State.RUNNING)
    assert sandbox.slot == 1

    lifecycle.begin_destroy(sandbox, EndReason.USER, "Enough.")

    assert reload(sandbox).slot is None
    assert not alice.sandboxes.active().exists()


def test_the_first_of_two_ends_sets_the_reason(alice):
    sandbox = in_state(alice, State.RUNNING)
    same = reload(sandbox)

    assert lifecycle.begin_destroy(sandbox, EndReason.USER, "Enough.")
    assert not lifecycle.begin_destroy(same, EndReason.EXPIRED, "Its lifetime ended.")

    assert reload(sandbox).end_reason == EndReason.USER


def test_deadlines_start_when_a_sandbox_runs(alice, clock):
    sandbox = request(alice, ttl_minutes=90)
    clock.forward(minutes=3)
    lifecycle.start_provisioning(sandbox)
    lifecycle.mark_ready(sandbox, {}, 0)
    now = timezone.now()

    assert sandbox.started_at == sandbox.last_activity_at == now
    assert sandbox.expires_at == now + timedelta(minutes=90)
    assert sandbox.hard_cap_at == now + timedelta(minutes=240)
    assert sandbox.idle_expires_at == now + timedelta(minutes=30)


def test_a_lifetime_never_exceeds_the_hard_cap(alice, settings):
    settings.SANDBOX_HARD_CAP_MINUTES = 40
    sandbox = request(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(ttl_minutes=60)
    sandbox = reload(sandbox)
    lifecycle.start_provisioning(sandbox)
    lifecycle.mark_ready(sandbox, {}, 0)

    assert sandbox.expires_at == sandbox.hard_cap_at
    assert sandbox.ends_because == "idle"


def test_a_leased_sandbox_cannot_be_claimed_by_another_worker(alice, clock):
    sandbox = request(alice)
    same = reload(sandbox)
    assert lifecycle.start_provisioning(sandbox)

    clock.forward(seconds=leases.LEASE_DURATION.seconds - 1)
    assert not lifecycle.start_provisioning(same)
    clock.forward(seconds=1)
    assert lifecycle.start_provisioning(same)
    assert same.lease_token == 2


def test_a_worker_that_lost_its_lease_changes_nothing(alice, clock):
    slow = request(alice)
    quick = reload(slow)
    lifecycle.start_provisioning(slow)
    clock.forward(seconds=31)
    lifecycle.start_provisioning(quick)

    assert not leases.renew_lease(slow, steps=[{"name": "mine"}])
    assert not lifecycle.mark_ready(slow, {"api:1": "elsewhere:1"}, 7)
    assert not lifecycle.begin_destroy(
        slow, EndReason.PROVISION_FAILED, "Mine.", lease_token=slow.lease_token
    )

    assert reload(slow).state == State.PROVISIONING
    assert reload(slow).steps == []
    assert lifecycle.mark_ready(quick, {"api:1": "here:1"}, 7)
    assert reload(slow).addresses == {"api:1": "here:1"}


def test_lease_tokens_increase_from_the_stored_value(alice, clock):
    sandbox = request(alice)
    memory = reload(sandbox)
    for _ in range(2):
        assert lifecycle.start_provisioning(reload(sandbox))
        clock.forward(seconds=31)

    assert lifecycle.start_provisioning(memory)
    assert reload(sandbox).lease_token == 3


def test_a_late_release_of_a_lease_keeps_a_later_state(alice):
    sandbox = launch(alice)
    assert leases.acquire_lease(sandbox, [State.RUNNING])
    lifecycle.begin_destroy(reload(sandbox), EndReason.USER, "Enough.")
    leases.acquire_lease(sandbox, [State.DESTROYING])
    held_until = reload(sandbox).leased_until

    assert not leases.release_lease(sandbox, State.RUNNING)
    assert reload(sandbox).leased_until == held_until is not None


def test_a_late_release_of_a_lease_keeps_the_next_workers_lease(alice, clock):
    sandbox = launch(alice)
    late = reload(sandbox)
    assert leases.acquire_lease(late, [State.RUNNING])
    clock.forward(seconds=31)
    next_one = reload(sandbox)
    assert leases.acquire_lease(next_one, [State.RUNNING])

    assert not leases.release_lease(late, State.RUNNING)
    assert reload(sandbox).leased_until
    assert leases.release_lease(next_one, State.RUNNING)


BROKEN = {
    "sandbox_running_has_deadlines": {"expires_at": None},
    "sandbox_end_reason_required": {"state": State.DESTROYED, "slot": None},
    "sandbox_slot_matches_state": {"slot": None},
    "sandbox_state_valid": {"state": "lingering", "slot": None},
}


@pytest.mark.parametrize("rule", BROKEN)
def test_the_database_rejects_an_inconsistent_row(alice, rule):
    sandbox = in_state(alice, State.RUNNING)

    with pytest.raises(IntegrityError, match=rule), transaction.atomic():
        Sandbox.objects.filter(pk=sandbox.pk).update(**BROKEN[rule])


def test_the_database_rejects_two_sandboxes_in_one_slot(alice, bob):
    one, two, foreign = request(alice), request(alice), request(bob)
    assert (one.slot, two.slot, foreign.slot) == (1, 2, 1)

    with pytest.raises(IntegrityError), transaction.atomic():
        Sandbox.objects.filter(pk=two.pk).update(slot=1)
