"""The reaper: its decisions as a table, and whole sweeps against the fake engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.db import transaction
from django.utils import timezone
from sandboxes import actions, lifecycle, provisioning, reaper
from sandboxes.models import EndReason, LimitOverride, Sandbox, Site, State
from sandboxes.runtime import EngineRefused, EngineUnreachable, SandboxFacts, ServiceFacts
from sandboxes.runtime import ServiceState as S
from sandboxes.verdicts import Act, Seen, decide

from tests.acting import again, committed, launch, request, story, sweep

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def ago(**delta: float) -> datetime:
    return NOW - timedelta(**delta)


def ahead(**delta: float) -> datetime:
    return NOW + timedelta(**delta)


# Decisions


def row(**values) -> Sandbox:
    """A healthy running sandbox that was launched ten minutes ago, except for these values."""
    known = {
        "public_id": "sbx_1",
        "owner": get_user_model()(is_active=True),
        "state": State.RUNNING,
        "created_at": ago(minutes=10),
        "started_at": ago(minutes=10),
        "last_activity_at": ago(minutes=1),
        "expires_at": ahead(minutes=50),
        "hard_cap_at": ahead(minutes=230),
        "idle_minutes": 30,
        "disk_mb": 2048,
    }
    return Sandbox(**(known | values))


UP = ServiceFacts(S.RUNNING)


def seen(*, db: ServiceFacts | None = UP, api: ServiceFacts | None = UP, **values) -> Seen:
    services = {name: s for name, s in (("api", api), ("db", db)) if s}
    facts = SandboxFacts("sbx_1", services, ago(minutes=10), **({"traffic_bytes": 0} | values))
    return Seen(True, facts, ["api", "db"])


ABSENT = Seen(True, None, ["api", "db"])
UNREACHABLE = Seen(False, None, ["api", "db"])
PENDING = {"state": State.PENDING}
PROVISIONING = {"state": State.PROVISIONING}
DESTROYING = {"state": State.DESTROYING}
EXITED = ServiceFacts(S.EXITED, exit_code=1)
KILLED = ServiceFacts(S.EXITED, exit_code=137, out_of_memory=True)
STOPPED = ServiceFacts(S.EXITED, exit_code=137, stopped_with_engine=True)
IDLE = {"last_activity_at": ago(minutes=30)}
NEARLY_IDLE = {"last_activity_at": ago(minutes=26)}
NEARLY_OVER = {"expires_at": ahead(minutes=4)}

TABLE = {
    "a healthy one is left alone": (row(), seen(), None),
    "a new request waits for its worker": (row(**PENDING, created_at=ago(seconds=9)), ABSENT, None),
    "an old request is sent again": (
        row(**PENDING, created_at=ago(seconds=11)),
        ABSENT,
        (Act.RESEND, None),
    ),
    "an old request is sent again also while the engine is away": (
        row(**PENDING, created_at=ago(seconds=11)),
        UNREACHABLE,
        (Act.RESEND, None),
    ),
    "what a worker holds is left to it": (
        row(**PROVISIONING, lease_until=ahead(seconds=1)),
        ABSENT,
        None,
    ),
    "what a dead worker held is sent again": (
        row(**PROVISIONING, lease_until=ago(seconds=1)),
        ABSENT,
        (Act.RESEND, None),
    ),
    "what could not be made in time is given up": (
        row(**PROVISIONING, created_at=ago(minutes=11)),
        ABSENT,
        (Act.BREAK, EndReason.PROVISION_FAILED),
    ),
    "what is held is not given up": (
        row(**PROVISIONING, created_at=ago(minutes=11), lease_until=ahead(seconds=1)),
        ABSENT,
        None,
    ),
    "an unfinished removal goes on": (row(**DESTROYING), seen(), (Act.TEAR_DOWN, None)),
    "a removal also goes on when nothing of it is there": (
        row(**DESTROYING),
        ABSENT,
        (Act.TEAR_DOWN, None),
    ),
    "a removal waits for its next try": (
        row(**DESTROYING, lease_until=ahead(seconds=1)),
        seen(),
        None,
    ),
    "a removal waits for the engine": (row(**DESTROYING), UNREACHABLE, None),
    "what is over ends": (row(expires_at=NOW), seen(), (Act.END, EndReason.EXPIRED)),
    "what is over ends also while the engine is away": (
        row(expires_at=NOW),
        UNREACHABLE,
        (Act.END, EndReason.EXPIRED),
    ),
    "what is over and broken has expired": (
        row(expires_at=NOW),
        ABSENT,
        (Act.END, EndReason.EXPIRED),
    ),
    "what nobody uses ends": (row(**IDLE), seen(), (Act.END, EndReason.IDLE)),
    "an idle one is not judged while the engine is away": (
        row(**IDLE, warned_idle_for=NOW),
        UNREACHABLE,
        None,
    ),
    "an idle one is not judged without a measure of its traffic": (
        row(**IDLE, warned_idle_for=NOW),
        seen(traffic_bytes=None),
        None,
    ),
    "an idle time of its own counts": (
        row(last_activity_at=ago(minutes=5), idle_minutes=5),
        seen(),
        (Act.END, EndReason.IDLE),
    ),
    "one that is gone is lost": (row(), ABSENT, (Act.BREAK, EndReason.LOST)),
    "one that is nowhere to be seen is not lost": (row(), UNREACHABLE, None),
    "one with a network and no containers is lost": (
        row(),
        seen(db=None, api=None),
        (Act.BREAK, EndReason.LOST),
    ),
    "one with a service missing is lost": (row(), seen(db=None), (Act.BREAK, EndReason.LOST)),
    "one with a stopped service has crashed": (
        row(),
        seen(api=EXITED),
        (Act.BREAK, EndReason.CRASHED),
    ),
    "one that stopped with exit code 0 has crashed as well": (
        row(),
        seen(api=ServiceFacts(S.EXITED, exit_code=0)),
        (Act.BREAK, EndReason.CRASHED),
    ),
    "one out of memory says so": (row(), seen(db=KILLED), (Act.BREAK, EndReason.OUT_OF_MEMORY)),
    "one over its disk limit ends": (
        row(),
        seen(disk_mb=2048.5),
        (Act.BREAK, EndReason.DISK_FULL),
    ),
    "one just at its disk limit goes on": (row(), seen(disk_mb=2048.0), None),
    "one that was not measured goes on": (row(), seen(disk_mb=None), None),
    "one that stopped with the engine is started": (
        row(),
        seen(db=STOPPED, api=STOPPED),
        (Act.REVIVE, None),
    ),
    "one that stopped with the engine is not idle": (
        row(**IDLE),
        seen(db=STOPPED, api=STOPPED),
        (Act.REVIVE, None),
    ),
    "one that is being started is left to it": (
        row(lease_until=ahead(seconds=1)),
        seen(db=STOPPED),
        None,
    ),
    "a crash beside a stopped engine is a crash": (
        row(),
        seen(db=STOPPED, api=EXITED),
        (Act.BREAK, EndReason.CRASHED),
    ),
    "a reset that nobody does is sent again": (
        row(reset_requested_at=ago(seconds=11)),
        seen(),
        (Act.RESEND, None),
    ),
    "a reset that somebody does is left to him": (
        row(reset_requested_at=ago(seconds=11), lease_until=ahead(seconds=1)),
        seen(),
        None,
    ),
    "a deleted owner's ends": (row(owner=None), seen(), (Act.END, EndReason.OPERATOR)),
    "a closed account's ends": (
        row(owner=get_user_model()(is_active=False)),
        seen(),
        (Act.END, EndReason.OPERATOR),
    ),
    "a closed account's request ends": (
        row(owner=None, **PENDING),
        ABSENT,
        (Act.END, EndReason.OPERATOR),
    ),
    "a closed account's ends also in a worker's hands": (
        row(owner=None, **PROVISIONING, lease_until=ahead(seconds=9)),
        ABSENT,
        (Act.END, EndReason.OPERATOR),
    ),
    "a closed account's removal just goes on": (
        row(owner=None, **DESTROYING),
        seen(),
        (Act.TEAR_DOWN, None),
    ),
    "a near end is warned of": (row(**NEARLY_OVER), seen(), (Act.WARN, EndReason.EXPIRED)),
    "a near end is warned of once": (
        row(**NEARLY_OVER, warned_expiry_for=ahead(minutes=4)),
        seen(),
        None,
    ),
    "a new end is warned of anew": (
        row(**NEARLY_OVER, warned_expiry_for=ago(minutes=60)),
        seen(),
        (Act.WARN, EndReason.EXPIRED),
    ),
    "idleness is warned of": (row(**NEARLY_IDLE), seen(), (Act.WARN, EndReason.IDLE)),
    "idleness is warned of once": (
        row(**NEARLY_IDLE, warned_idle_for=ahead(minutes=4)),
        seen(),
        None,
    ),
    "the clock that ends it is the one that is warned of": (
        row(**NEARLY_IDLE, expires_at=ahead(minutes=4, seconds=30)),
        seen(),
        (Act.WARN, EndReason.IDLE),
    ),
    "a warning of its end does not hide that of its idleness": (
        row(
            **NEARLY_IDLE,
            expires_at=ahead(minutes=4, seconds=30),
            warned_expiry_for=ahead(minutes=4, seconds=30),
        ),
        seen(),
        (Act.WARN, EndReason.IDLE),
    ),
    "a short idle time is not all warning": (
        row(idle_minutes=4, last_activity_at=ago(minutes=1)),
        seen(),
        None,
    ),
    "half of a short idle time is": (
        row(idle_minutes=4, last_activity_at=ago(minutes=2)),
        seen(),
        (Act.WARN, EndReason.IDLE),
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_decision(case):
    sandbox, look, expected = TABLE[case]
    verdict = decide(sandbox, look, NOW)
    assert (verdict and (verdict.act, verdict.reason)) == expected


def test_a_verdict_says_which_service_broke_and_how():
    verdict = decide(row(), seen(api=EXITED), NOW)

    assert verdict
    assert (verdict.service, verdict.exit_code) == ("api", 1)
    assert verdict.why == "The service api stopped with exit code 1."


# Endings

db = pytest.mark.django_db


def expire(*sandboxes: Sandbox) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Sandbox.objects.filter(pk__in=[s.pk for s in sandboxes]).update(expires_at=past)


@db
def test_a_row_whose_end_is_set_to_the_past_is_gone_after_one_sweep(alice, runtime):
    sandbox = launch(alice)
    expire(sandbox)
    result = sweep()

    sandbox = again(sandbox)
    assert (sandbox.state, sandbox.end_reason) == (State.DESTROYED, EndReason.EXPIRED)
    assert runtime.observe() == {}
    assert result.counts["end"] == 1
    assert result.errors == []


@db
def test_it_ends_after_its_lifetime_and_not_before(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=14, seconds=59)
    sweep()
    assert again(sandbox).state == State.RUNNING
    clock.forward(seconds=1)
    sweep()
    assert again(sandbox).end_reason == EndReason.EXPIRED


@db
def test_without_traffic_it_ends_after_30_minutes(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    clock.forward(minutes=29, seconds=59)
    sweep()
    assert again(sandbox).state == State.RUNNING
    clock.forward(seconds=1)
    sweep()
    assert again(sandbox).end_reason == EndReason.IDLE


@db
def test_traffic_keeps_it_alive(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    for _ in range(5):
        clock.forward(minutes=20)
        runtime.use(sandbox.public_id)
        sweep()

    assert again(sandbox).state == State.RUNNING
    assert again(sandbox).last_activity_at == timezone.now()


@db
def test_traffic_moves_the_idle_clock_alone(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(minutes=20)
    runtime.use(sandbox.public_id)
    sweep()

    assert again(sandbox).expires_at == sandbox.expires_at
    assert again(sandbox).idle_expires_at == timezone.now() + timedelta(minutes=30)


@db
def test_what_an_unused_network_sees_is_no_traffic(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(minutes=10)
    runtime.use(sandbox.public_id, sent=reaper.TRAFFIC_NOISE_BYTES - 1)
    sweep()

    assert again(sandbox).last_activity_at == sandbox.last_activity_at


@db
def test_small_answers_add_up_to_traffic(alice, runtime, clock):
    sandbox = launch(alice)
    for _ in range(3):
        clock.forward(minutes=1)
        runtime.use(sandbox.public_id, sent=100)
        sweep()

    assert again(sandbox).last_activity_at == timezone.now()


@db
def test_traffic_counts_also_when_the_counter_began_again(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.use(sandbox.public_id, sent=50_000)
    sweep()
    runtime.use(sandbox.public_id, sent=-40_000)
    clock.forward(minutes=10)
    sweep()

    assert again(sandbox).last_activity_at == timezone.now()
    assert again(sandbox).traffic_bytes == 10_000


@db
def test_a_counter_that_began_again_without_traffic_is_no_activity(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.use(sandbox.public_id, sent=50_000)
    sweep()
    runtime.use(sandbox.public_id, sent=-50_000)
    clock.forward(minutes=10)
    sweep()

    assert again(sandbox).last_activity_at == sandbox.last_activity_at
    assert again(sandbox).traffic_bytes == 0


@db
def test_traffic_after_the_clock_was_set_back_shortens_nothing(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(minutes=-20)
    runtime.use(sandbox.public_id)
    sweep()

    assert again(sandbox).idle_expires_at == sandbox.idle_expires_at


@db
def test_the_sweep_itself_and_the_pages_are_no_activity(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    for _ in range(30):
        clock.forward(minutes=1)
        sweep()
        actions.refusal_to_launch(alice)

    assert again(sandbox).end_reason == EndReason.IDLE


@db
def test_an_idle_time_that_an_operator_set_counts(alice, runtime, clock):
    LimitOverride.objects.create(user=alice, idle_minutes=60, reason="slow work")
    sandbox = launch(alice, ttl_minutes=120)
    clock.forward(minutes=59)
    sweep()
    assert again(sandbox).state == State.RUNNING
    clock.forward(minutes=1)
    sweep()
    assert again(sandbox).end_reason == EndReason.IDLE


@db
def test_ports_that_changed_are_recorded(alice, runtime):
    sandbox = launch(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(addresses={"api:8080": "127.0.0.1:1"})
    sweep()

    assert again(sandbox).addresses == sandbox.addresses


# Broken ones


@db
@pytest.mark.parametrize(
    ("breaks", "reason", "words"),
    [
        (lambda rt, name: rt.exit(name, "api", 3), EndReason.CRASHED, "exit code 3"),
        (lambda rt, name: rt.exit(name, "db", 137, oom=True), EndReason.OUT_OF_MEMORY, "memory"),
        (lambda rt, name: rt.fill(name, 2049), EndReason.DISK_FULL, "2049 MB; 2048 MB"),
        (lambda rt, name: rt.forget(name), EndReason.LOST, "not on the engine"),
    ],
)
def test_a_broken_sandbox_ends_as_failed_with_the_reason(alice, runtime, breaks, reason, words):
    sandbox = launch(alice)
    runtime.say(sandbox.public_id, "api", "famous last words")
    breaks(runtime, sandbox.public_id)
    sweep()

    sandbox = again(sandbox)
    assert (sandbox.state, sandbox.end_reason) == (State.FAILED, reason)
    assert words in sandbox.end_message
    assert runtime.observe() == {}
    assert not alice.sandboxes.active().exists()
    if reason != EndReason.LOST:
        assert "famous last words" in sandbox.failure["log_tail"], "they can still be read"


@db
def test_a_sandbox_whose_keys_were_lost_still_ends(alice, runtime, settings, clock):
    running, broken = launch(alice), launch(alice)
    settings.SANDBOX_ENCRYPTION_KEYS = ["bm90LXRoZS1rZXktbm90LXRoZS1rZXktbm90LXRoZS0="]
    runtime.exit(broken.public_id, "api", 1)
    clock.forward(minutes=60)
    assert sweep().errors == []

    assert again(running).end_reason == EndReason.EXPIRED
    assert again(broken).state == State.DESTROYED
    assert runtime.observe() == {}


@db
def test_one_that_broke_with_its_keys_lost_says_why_there_are_no_logs(alice, runtime, settings):
    broken = launch(alice)
    settings.SANDBOX_ENCRYPTION_KEYS = ["bm90LXRoZS1rZXktbm90LXRoZS1rZXktbm90LXRoZS0="]
    runtime.exit(broken.public_id, "api", 1)
    sweep()

    assert again(broken).state == State.FAILED
    assert "SANDBOX_ENCRYPTION_KEYS" in again(broken).failure["log_tail"]


@db
def test_a_sandbox_of_a_blueprint_that_was_taken_away_still_ends(alice, runtime, clock):
    sandbox = launch(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(blueprint="gone")
    assert sweep().errors == []
    clock.forward(minutes=61)
    sweep()

    assert again(sandbox).end_reason == EndReason.EXPIRED


# People who leave


@db
@pytest.mark.parametrize("taken_up", [True, False])
@pytest.mark.parametrize("how", ["deactivated", "deleted"])
def test_when_its_owner_leaves_nothing_is_left_behind(alice, runtime, how, taken_up):
    sandbox = launch(alice) if taken_up else request(alice)
    if how == "deleted":
        alice.delete()
    else:
        alice.is_active = False
        alice.save()
    sweep()

    sandbox = again(sandbox)
    assert (sandbox.state, sandbox.end_message) == (
        State.DESTROYED,
        "Its owner's account was closed.",
    )
    assert runtime.observe() == {}


# Requests that the queue lost


@db
def test_a_request_that_the_queue_lost_is_sent_again(alice, runtime, clock):
    sandbox = request(alice)
    sweep()
    assert again(sandbox).state == State.PENDING

    clock.forward(seconds=11)
    sweep()
    assert again(sandbox).state == State.RUNNING


@db
def test_a_request_that_nobody_takes_up_is_given_up_in_the_end(alice, runtime, clock):
    sandbox = request(alice)
    clock.forward(minutes=11)
    sweep()

    assert (again(sandbox).state, again(sandbox).end_reason) == (
        State.FAILED,
        EndReason.PROVISION_FAILED,
    )


@db
def test_one_that_was_made_just_now_is_not_given_up_by_a_late_verdict(
    alice, runtime, clock, monkeypatch
):
    sandbox = request(alice)
    clock.forward(minutes=11)
    real = runtime.observe

    def taken_meanwhile(**choices):
        found = real(**choices)
        provisioning.provision(again(sandbox))
        return found

    monkeypatch.setattr(runtime, "observe", taken_meanwhile)
    result = sweep()

    assert again(sandbox).state == State.RUNNING
    assert result.lines == []


@db
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


# Races


@db
@pytest.mark.parametrize("ask", ["extend", "touch"])
def test_who_asks_for_more_time_while_the_reaper_looks_keeps_the_sandbox(
    alice, runtime, clock, monkeypatch, ask
):
    sandbox = launch(alice, ttl_minutes=30 if ask == "extend" else 120)
    clock.forward(minutes=30)
    real = reaper.decide

    def just_in_time(*args):
        verdict = real(*args)
        monkeypatch.setattr(reaper, "decide", real)
        if ask == "extend":
            actions.extend(again(sandbox), 60, alice)
        else:
            actions.touch(again(sandbox), alice)
        return verdict

    monkeypatch.setattr(reaper, "decide", just_in_time)
    result = sweep()

    assert again(sandbox).state == State.RUNNING
    assert again(sandbox).ends_at == timezone.now() + timedelta(minutes=30)
    assert result.lines == [], "it does not claim to have ended it"


@db
def test_traffic_that_this_sweep_sees_counts_before_it_judges(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    clock.forward(minutes=31)
    runtime.use(sandbox.public_id)
    sweep()

    assert again(sandbox).state == State.RUNNING


@db
def test_destroyed_by_its_owner_first_it_is_not_ended_twice(alice, runtime, monkeypatch):
    sandbox = launch(alice)
    expire(sandbox)
    real = runtime.observe

    def destroyed_meanwhile(**choices):
        found = real(**choices)
        with committed():
            actions.destroy(again(sandbox), alice)
        return found

    monkeypatch.setattr(runtime, "observe", destroyed_meanwhile)
    result = sweep()

    assert again(sandbox).end_reason == EndReason.USER
    assert story(sandbox).count("ending") == 1
    assert (result.lines, result.errors) == ([], [])


# What can't be removed


@db
def test_one_that_cannot_be_removed_keeps_none_of_the_others(alice, bob, runtime, clock):
    stuck, fine = launch(alice), launch(bob)
    expire(stuck, fine)
    runtime.fail_next("destroy", EngineRefused("The engine refused to remove it: device is busy."))
    result = sweep()

    assert again(stuck).state == State.DESTROYING
    assert again(fine).state == State.DESTROYED
    assert result.errors == [
        f"{stuck.public_id} could not be removed: "
        "The engine refused to remove it: device is busy."
    ]
    assert "device is busy" in Site.current().reaper_error


@db
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


# Engine away


@db
def test_an_unreachable_engine_is_never_read_as_gone(alice, runtime, clock):
    running, unused = launch(alice), request(alice)
    runtime.unreachable = True
    clock.forward(seconds=20)
    result = sweep()

    assert again(running).state == State.RUNNING
    assert again(unused).state == State.PROVISIONING
    assert result.errors[0].startswith("The engine can't be reached")
    assert Site.current().reaped_at == timezone.now()


@db
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


@db
def test_an_engine_that_goes_away_in_the_middle_of_a_sweep_is_told(alice, runtime, monkeypatch):
    sandbox = launch(alice)
    expire(sandbox)
    real = runtime.observe

    def last_answer(**choices):
        found = real(**choices)
        runtime.unreachable = True
        return found

    monkeypatch.setattr(runtime, "observe", last_answer)
    result = sweep()

    assert again(sandbox).state == State.DESTROYING
    assert result.errors
    assert Site.current().reaped_at


# Clock jumps


@db
def test_a_clock_that_jumps_ends_a_bounded_number_and_says_so(alice, runtime, settings, clock):
    settings.SANDBOX_MAX_PER_USER = 10
    rows = [launch(alice) for _ in range(5)]
    clock.forward(days=400)
    result = sweep(max_endings=2)

    states = [again(row).state for row in rows]
    assert states == [State.DESTROYED] * 2 + [State.RUNNING] * 3
    assert [e for e in result.errors if "--max-endings 0" in e]

    assert sweep(max_endings=0).errors == []
    assert {again(row).state for row in rows} == {State.DESTROYED}


@db
def test_the_bound_leaves_repairs_alone(alice, runtime, settings):
    rows = [launch(alice) for _ in range(3)]
    for sandbox in rows:
        runtime.exit(sandbox.public_id, "api", 1)

    assert sweep(max_endings=1).errors == []
    assert {again(row).state for row in rows} == {State.FAILED}


# Orphans


@db
def test_an_orphan_is_removed_after_its_grace_and_not_before(alice, runtime, clock):
    runtime.plant("sbx_orphan")
    keeps = launch(alice)
    clock.forward(seconds=59)
    assert sweep().lines == []
    clock.forward(seconds=1)
    result = sweep()

    assert result.counts["orphan"] == 1
    assert list(runtime.observe()) == [keeps.public_id]


@db
def test_what_is_left_of_an_ended_sandbox_is_an_orphan(alice, runtime, clock):
    sandbox = launch(alice)
    with committed():
        actions.destroy(sandbox, alice)
    runtime.plant(sandbox.public_id, timezone.now() - timedelta(minutes=5))
    sweep()

    assert runtime.observe() == {}


@db
def test_an_orphan_that_cannot_be_removed_is_told_and_stops_no_other(alice, runtime):
    old = timezone.now() - timedelta(hours=1)
    runtime.plant("sbx_stuck", old)
    runtime.plant("sbx_other", old)
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    result = sweep()

    assert result.errors == ["sbx_stuck: It is busy."]
    assert list(runtime.observe()) == ["sbx_stuck"]


# Warnings


def warned(sandbox: Sandbox) -> int:
    return story(sandbox).count("warned")


@db
def test_its_owner_is_warned_once_of_one_deadline(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=9)
    sweep()
    assert mail.outbox == []
    clock.forward(minutes=1)
    for _ in range(3):
        sweep()
        clock.forward(minutes=1)

    assert [m.to for m in mail.outbox] == [["alice@example.com"]]
    assert warned(sandbox) == 1


@db
def test_an_extension_arms_the_warning_again(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    sweep()
    actions.extend(sandbox, 15, alice)
    sweep()
    assert warned(sandbox) == 1

    clock.forward(minutes=15)
    sweep()
    assert warned(sandbox) == 2


@db
def test_traffic_arms_the_idle_warning_again(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    clock.forward(minutes=26)
    sweep()
    assert warned(sandbox) == 1
    runtime.use(sandbox.public_id)
    sweep()
    assert warned(sandbox) == 1

    clock.forward(minutes=26)
    sweep()
    assert warned(sandbox) == 2


@db
def test_two_sweeps_warn_once(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    one, other = again(sandbox), again(sandbox)
    from sandboxes import housekeeping

    with committed():
        assert housekeeping.warn(one, idle=False)
        assert not housekeeping.warn(other, idle=False)
    assert warned(sandbox) == 1


@db
def test_a_warning_that_an_extension_overtook_is_not_given(alice, runtime, clock):
    from sandboxes import housekeeping

    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    stale = again(sandbox)
    actions.extend(sandbox, 60, alice)

    assert not housekeeping.warn(stale, idle=False)


# Two at once, bad rows, dry runs


@db
def test_a_sweep_right_after_another_finds_nothing_to_do(alice, runtime, clock):
    launch(alice)
    clock.forward(minutes=61)
    assert sweep().lines
    second = sweep()

    assert (second.lines, second.errors) == ([], [])


@db
def test_one_bad_row_never_stops_the_others(alice, runtime, monkeypatch):
    bad, fine = launch(alice), launch(alice)
    expire(bad, fine)
    real = reaper.decide

    def stumble(row, *args):
        if row.pk == bad.pk:
            raise ValueError("odd row")
        return real(row, *args)

    monkeypatch.setattr(reaper, "decide", stumble)
    result = sweep()

    assert again(fine).state == State.DESTROYED
    assert result.errors == [f"{bad.public_id}: ValueError: odd row"]


@db
def test_a_dry_run_says_what_it_would_do_and_does_nothing(alice, runtime, clock):
    due, waits = launch(alice, ttl_minutes=15), request(alice)
    runtime.plant("sbx_orphan")
    clock.forward(minutes=20)
    runtime.use(due.public_id)
    before = [again(due), again(waits), story(due), runtime.observe()]
    result = sweep(dry_run=True)

    assert dict(result.counts) == {"end": 1, "break": 1, "orphan": 1}
    assert [again(due), again(waits), story(due), runtime.observe()] == before
    assert again(due).last_activity_at == due.last_activity_at
    assert Site.current().reaped_at is None


# Housekeeping


@db
def test_a_sweep_notes_what_each_sandbox_consumes(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.fill(sandbox.public_id, 12.5)
    clock.forward(seconds=30)
    sweep()

    sample = sandbox.samples.get()
    assert sample.memory_mb > 0
    assert sample.disk_mb == 12.5
    assert sample.at == timezone.now()


@db
def test_a_sweep_notes_what_the_engine_can_enforce(runtime):
    sweep()
    assert (Site.current().engine, Site.current().hard_disk_limit) == ("memory 1", False)
    runtime.hard_disk_limit = True
    sweep()
    assert Site.current().hard_disk_limit is True


@db
def test_consumption_that_cannot_be_read_is_told_and_stops_nothing(alice, runtime):
    launch(alice)
    runtime.fail_next("usage", EngineUnreachable("No answer."))
    result = sweep()

    assert result.errors == ["sampling: No answer."]
    assert Site.current().engine == "memory 1"


@db
def test_history_is_kept_for_90_days_and_answers_for_24_hours(alice, runtime, clock):
    old, _ = actions.launch(alice, actions.LaunchRequest(), "k-1")
    with committed():
        actions.destroy(old, alice)
    clock.forward(days=89)
    sweep()
    assert again(old).events.exists()

    clock.forward(days=2)
    sweep()
    assert not Sandbox.objects.exists()


@db
def test_what_lives_is_never_pruned(alice, runtime, settings):
    settings.SANDBOX_RETENTION_DAYS = 0
    sandbox = launch(alice)
    stuck = launch(alice)
    lifecycle.end(stuck, EndReason.USER, "Enough.")
    lifecycle.hold(stuck, [State.DESTROYING])
    sweep()

    assert again(sandbox).state == State.RUNNING
    assert again(stuck).state == State.DESTROYING


@db
def test_a_sweep_of_many_healthy_sandboxes_asks_little(
    alice, runtime, settings, django_assert_max_num_queries
):
    settings.SANDBOX_MAX_PER_USER = 40
    for _ in range(30):
        launch(alice)
    Sandbox.objects.update(funding="funded", funding_due_at=None)
    runtime.use(alice.sandboxes.first().public_id)

    with django_assert_max_num_queries(20), transaction.atomic():
        reaper.Sweep().run()
