"""Sweeps end sandboxes that are due, and no others."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from sandboxes import actions
from sandboxes.models import EndReason, LimitOverride, Sandbox, State
from sandboxes.reaper import observe as reaper_observe
from sandboxes.reaper import sweep as reaper_sweep
from sandboxes.runtime import get_runtime
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


def test_an_expired_sandbox_is_gone_after_one_sweep(alice, runtime):
    sandbox = launch(alice)
    expire(sandbox)
    result = sweep()

    sandbox = reload(sandbox)
    assert (sandbox.state, sandbox.end_reason) == (State.DESTROYED, EndReason.EXPIRED)
    assert runtime.observe() == {}
    assert result.counts["expire"] == 1
    assert result.errors == []


def test_a_sandbox_ends_after_its_lifetime_and_not_before(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=14, seconds=59)
    sweep()
    assert reload(sandbox).state == State.RUNNING
    clock.forward(seconds=1)
    sweep()
    assert reload(sandbox).end_reason == EndReason.EXPIRED


def test_without_traffic_a_sandbox_ends_after_30_minutes(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    clock.forward(minutes=29, seconds=59)
    sweep()
    assert reload(sandbox).state == State.RUNNING
    clock.forward(seconds=1)
    sweep()
    assert reload(sandbox).end_reason == EndReason.IDLE


def test_traffic_keeps_a_sandbox_alive(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    for _ in range(5):
        clock.forward(minutes=20)
        runtime.add_traffic(sandbox.public_id)
        sweep()

    assert reload(sandbox).state == State.RUNNING
    assert reload(sandbox).last_activity_at == timezone.now()


def test_traffic_resets_only_the_idle_timer(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(minutes=20)
    runtime.add_traffic(sandbox.public_id)
    sweep()

    assert reload(sandbox).expires_at == sandbox.expires_at
    assert reload(sandbox).idle_expires_at == timezone.now() + timedelta(minutes=30)


def test_background_noise_is_not_traffic(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(minutes=10)
    runtime.add_traffic(sandbox.public_id, sent=reaper_observe.TRAFFIC_NOISE_BYTES - 1)
    sweep()

    assert reload(sandbox).last_activity_at == sandbox.last_activity_at


def test_small_responses_add_up_to_traffic(alice, runtime, clock):
    sandbox = launch(alice)
    for _ in range(3):
        clock.forward(minutes=1)
        runtime.add_traffic(sandbox.public_id, sent=100)
        sweep()

    assert reload(sandbox).last_activity_at == timezone.now()


@pytest.mark.slow
def test_what_the_host_sends_after_each_probe_is_not_activity(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.set_neighbors(sandbox.public_id, 2)
    for _ in range(60):
        clock.forward(seconds=30)
        runtime.add_traffic(sandbox.public_id, sent=2 * 28)
        sweep()

    assert reload(sandbox).end_reason == EndReason.IDLE


def test_small_responses_add_up_beside_what_the_host_sends(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.set_neighbors(sandbox.public_id, 2)
    for _ in range(6):
        clock.forward(minutes=1)
        runtime.add_traffic(sandbox.public_id, sent=2 * 28 + 130)
        sweep()

    assert reload(sandbox).last_activity_at > sandbox.last_activity_at


def portal_sends(sandbox, sent=60_000, *, also_by_developer=0):
    """Simulate requests of the portal, whose size it knows to a few packets."""
    get_runtime().add_traffic(sandbox.public_id, sent + also_by_developer)
    Sandbox.objects.filter(pk=sandbox.pk).add_portal_traffic(sent + 132, sent + 132)


def test_a_sandbox_that_only_the_portal_asks_ends_by_idleness(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    for _ in range(6):
        clock.forward(minutes=5)
        portal_sends(sandbox)
        sweep()

    assert reload(sandbox).end_reason == EndReason.IDLE


def test_a_developers_request_counts_beside_those_of_the_portal(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(minutes=10)
    portal_sends(sandbox, also_by_developer=1000)
    sweep()
    used_at = timezone.now()
    assert reload(sandbox).last_activity_at == used_at
    clock.forward(minutes=10)
    portal_sends(sandbox)
    sweep()
    assert reload(sandbox).last_activity_at == used_at


@pytest.mark.parametrize("observed", [True, False])
def test_requests_of_the_portal_during_a_sweep_are_not_activity(alice, runtime, clock, observed):
    sandbox = launch(alice)
    own = Sandbox.objects.filter(pk=sandbox.pk)
    if observed:
        runtime.add_traffic(sandbox.public_id, 60_000)
    after_next_observe(runtime, lambda: own.add_portal_traffic(60_000, 60_000))
    clock.forward(minutes=10)
    sweep()
    if not observed:
        runtime.add_traffic(sandbox.public_id, 60_000)
    sweep()
    assert reload(sandbox).last_activity_at == sandbox.last_activity_at

    runtime.add_traffic(sandbox.public_id, 1000)
    sweep()
    assert reload(sandbox).last_activity_at == timezone.now()


def test_traffic_counts_after_a_counter_restart(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.add_traffic(sandbox.public_id, sent=50_000)
    sweep()
    runtime.add_traffic(sandbox.public_id, sent=-40_000)
    clock.forward(minutes=10)
    sweep()

    assert reload(sandbox).last_activity_at == timezone.now()
    counter = runtime.observe()[sandbox.public_id].traffic_bytes
    assert reload(sandbox).traffic_bytes == counter < 50_000


def test_a_counter_restart_without_traffic_is_not_activity(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.add_traffic(sandbox.public_id, sent=50_000)
    sweep()
    runtime.add_traffic(sandbox.public_id, sent=-reload(sandbox).traffic_bytes)
    clock.forward(minutes=10)
    sweep()

    assert reload(sandbox).last_activity_at == sandbox.last_activity_at
    assert reload(sandbox).traffic_bytes < 50_000


def test_traffic_after_a_clock_correction_shortens_nothing(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(minutes=-20)
    runtime.add_traffic(sandbox.public_id)
    sweep()

    assert reload(sandbox).idle_expires_at == sandbox.idle_expires_at


@pytest.mark.slow
def test_sweeps_and_pages_are_not_activity(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    for _ in range(30):
        clock.forward(minutes=1)
        sweep()
        actions.launch_blocker(alice)

    assert reload(sandbox).end_reason == EndReason.IDLE


def test_an_idle_timeout_set_by_an_operator_applies(alice, runtime, clock):
    LimitOverride.objects.create(user=alice, idle_minutes=60, reason="slow work")
    sandbox = launch(alice, ttl_minutes=120)
    clock.forward(minutes=59)
    sweep()
    assert reload(sandbox).state == State.RUNNING
    clock.forward(minutes=1)
    sweep()
    assert reload(sandbox).end_reason == EndReason.IDLE


def test_changed_ports_are_recorded(alice, runtime):
    sandbox = launch(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(addresses={"api:8080": "127.0.0.1:1"})
    sweep()

    assert reload(sandbox).addresses == sandbox.addresses


@pytest.mark.parametrize("taken_up", [True, False])
@pytest.mark.parametrize("how", ["deactivated", "deleted"])
def test_a_closed_account_leaves_nothing_behind(alice, runtime, how, taken_up):
    sandbox = launch(alice) if taken_up else request(alice)
    if how == "deleted":
        alice.delete()
    else:
        alice.is_active = False
        alice.save()
    sweep()

    sandbox = reload(sandbox)
    assert (sandbox.state, sandbox.end_message) == (
        State.DESTROYED,
        "The owner's account was closed.",
    )
    assert runtime.observe() == {}


@pytest.mark.parametrize("ask", ["extend", "touch"])
def test_an_extension_during_a_sweep_keeps_the_sandbox(alice, runtime, clock, monkeypatch, ask):
    sandbox = launch(alice, ttl_minutes=30 if ask == "extend" else 120)
    clock.forward(minutes=30)
    real = reaper_sweep.decide

    def just_in_time(*args):
        decision = real(*args)
        monkeypatch.setattr(reaper_sweep, "decide", real)
        if ask == "extend":
            actions.extend(reload(sandbox), 60, alice)
        else:
            actions.touch(reload(sandbox), alice)
        return decision

    monkeypatch.setattr(reaper_sweep, "decide", just_in_time)
    result = sweep()

    assert reload(sandbox).state == State.RUNNING
    assert reload(sandbox).ends_at == timezone.now() + timedelta(minutes=30)
    assert result.lines == [], "the sweep doesn't report an expiration"


def test_traffic_seen_by_this_sweep_counts_before_its_decisions(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    clock.forward(minutes=31)
    runtime.add_traffic(sandbox.public_id)
    sweep()

    assert reload(sandbox).state == State.RUNNING


def test_a_sandbox_destroyed_by_its_owner_first_does_not_end_twice(alice, runtime):
    sandbox = launch(alice)
    expire(sandbox)

    @partial(after_next_observe, runtime)
    def destroyed_by_its_owner():
        with run_on_commit():
            actions.destroy(reload(sandbox), alice)

    result = sweep()

    assert reload(sandbox).end_reason == EndReason.USER
    assert event_kinds(sandbox).count("ending") == 1
    assert (result.lines, result.errors) == ([], [])


def test_a_clock_jump_ends_a_limited_number_and_reports_it(alice, runtime, settings, clock):
    settings.SANDBOX_MAX_PER_USER = 10
    rows = [launch(alice) for _ in range(5)]
    clock.forward(days=400)
    result = sweep(max_expirations=2)

    states = [reload(row).state for row in rows]
    assert states == [State.DESTROYED] * 2 + [State.RUNNING] * 3
    assert [e for e in result.errors if "--max-endings 0" in e]

    assert sweep(max_expirations=0).errors == []
    assert {reload(row).state for row in rows} == {State.DESTROYED}


def test_the_limit_does_not_apply_to_failures(alice, runtime, settings):
    rows = [launch(alice) for _ in range(3)]
    for sandbox in rows:
        runtime.stop_service(sandbox.public_id, "api", 1)

    assert sweep(max_expirations=1).errors == []
    assert {reload(row).state for row in rows} == {State.FAILED}


def test_sandboxes_that_are_due_longest_end_first(alice, runtime, clock):
    rows = [launch(alice) for _ in range(3)]
    for row, minutes in zip(rows, (1, 3, 2), strict=True):
        past = timezone.now() - timedelta(minutes=minutes)
        Sandbox.objects.filter(pk=row.pk).update(expires_at=past)
    result = sweep(max_expirations=2)

    ended = [line.partition(":")[0] for line in result.lines]
    assert ended == [rows[1].public_id, rows[2].public_id]


def test_sandboxes_due_at_once_are_removed_several_at_a_time(alice, runtime, clock, monkeypatch):
    rows = [launch(alice) for _ in range(3)]
    meeting = threading.Barrier(len(rows), timeout=10)
    destroy = runtime.destroy

    def destroy_together(sandbox_id):
        meeting.wait()
        destroy(sandbox_id)

    monkeypatch.setattr(runtime, "destroy", destroy_together)
    clock.forward(hours=4)
    sweep()

    assert {reload(row).state for row in rows} == {State.DESTROYED}
    assert runtime.observe() == {}


def test_a_removal_that_breaks_stops_no_other(alice, runtime, clock, monkeypatch):
    broken, sound = launch(alice), launch(alice)
    destroy = runtime.destroy

    def destroy_but_one(sandbox_id):
        if sandbox_id == broken.public_id:
            raise RuntimeError("unexpected")
        destroy(sandbox_id)

    monkeypatch.setattr(runtime, "destroy", destroy_but_one)
    clock.forward(hours=4)
    result = reaper_sweep.Sweep().run()

    assert reload(sound).state == State.DESTROYED
    assert reload(broken).state == State.DESTROYING
    assert result.errors == [f"{broken.public_id}: RuntimeError: unexpected"]
