"""What a person may ask of the portal: it works, it is refused, it is asked again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from sandboxes import actions, provisioning
from sandboxes.actions import LaunchRequest
from sandboxes.errors import Conflict, Invalid, KeyReused, Unavailable
from sandboxes.models import EndReason, Event, Funding, IdempotencyKey, Sandbox, Site, State

from tests.acting import again, committed, last_line, launch, request, story, sweep

pytestmark = pytest.mark.django_db


# Launch


def test_a_launch_leads_to_a_running_sandbox(alice, runtime):
    with committed():
        sandbox, new = actions.launch(alice, LaunchRequest(name="My first"))

    sandbox = again(sandbox)
    assert new
    assert (sandbox.state, sandbox.name, sandbox.ttl_minutes) == (State.RUNNING, "My first", 60)
    assert set(runtime.observe()) == {sandbox.public_id}
    assert [step["name"] for step in sandbox.steps] == ["network", "containers", "ready"]
    assert {step["state"] for step in sandbox.steps} == {"done"}


def test_the_row_is_committed_before_the_engine_is_touched(alice, runtime):
    with transaction.atomic():
        sandbox = request(alice)
        assert runtime.observe() == {}

    assert sandbox.pk


@pytest.mark.parametrize("minutes", [15, 60, 120])
def test_a_lifetime_from_15_to_120_minutes_may_be_chosen(alice, runtime, minutes):
    assert request(alice, ttl_minutes=minutes).ttl_minutes == minutes


@pytest.mark.parametrize(
    ("choices", "field", "remedy"),
    [
        ({"ttl_minutes": 14}, "ttl_minutes", "from 15 to 120"),
        ({"ttl_minutes": 121}, "ttl_minutes", "from 15 to 120"),
        ({"ttl_minutes": -1}, "ttl_minutes", "from 15 to 120"),
        ({"blueprint": "payroll"}, "blueprint", "take billing"),
        ({"name": "x" * 61}, "name", "at most 60"),
        ({"name": "a\nb"}, "name", "printable"),
    ],
)
def test_bad_input_names_the_field_and_the_remedy_and_changes_nothing(
    alice, runtime, choices, field, remedy
):
    with pytest.raises(Invalid, match=remedy) as refused:
        request(alice, **choices)

    assert refused.value.field == field
    assert not Sandbox.objects.exists()


def test_each_sandbox_has_credentials_of_its_own(alice, runtime):
    one, two = launch(alice), launch(alice)

    mine, other = actions.credentials(one, alice), actions.credentials(two, alice)

    assert set(mine) == {"api_key", "database_url", "stellar_secret"}
    assert not set(mine.values()) & set(other.values())
    assert one.stellar_public_key != two.stellar_public_key


# Idempotency


def test_the_same_key_and_request_launch_one_sandbox(alice, runtime):
    first, new = actions.launch(alice, LaunchRequest(ttl_minutes=30), "k-1")
    second, newer = actions.launch(alice, LaunchRequest(ttl_minutes=30), "k-1")

    assert (first.pk, new, newer) == (second.pk, True, False)
    assert alice.sandboxes.count() == 1


def test_a_key_answers_also_when_its_sandbox_has_ended_and_no_place_is_left(alice, runtime):
    first, _ = actions.launch(alice, LaunchRequest(), "k-1")
    with committed():
        actions.destroy(first, alice)
    for _ in range(3):
        request(alice)

    assert actions.launch(alice, LaunchRequest(), "k-1") == (first, False)


def test_a_key_with_another_request_is_refused(alice, runtime):
    actions.launch(alice, LaunchRequest(ttl_minutes=30), "k-1")

    with pytest.raises(KeyReused, match="use a new key"):
        actions.launch(alice, LaunchRequest(ttl_minutes=31), "k-1")
    assert alice.sandboxes.count() == 1


def test_a_refused_launch_does_not_use_its_key_up(alice, runtime):
    with pytest.raises(Invalid):
        actions.launch(alice, LaunchRequest(ttl_minutes=1), "k-1")

    assert not IdempotencyKey.objects.exists()


def test_the_keys_of_two_people_have_nothing_to_do_with_each_other(alice, bob, runtime):
    mine, _ = actions.launch(alice, LaunchRequest(), "k-1")
    his, new = actions.launch(bob, LaunchRequest(), "k-1")

    assert new and mine.pk != his.pk


def test_a_key_is_forgotten_after_24_hours(alice, runtime, clock):
    actions.launch(alice, LaunchRequest(), "k-1")
    clock.forward(hours=24, seconds=1)

    assert actions.launch(alice, LaunchRequest(), "k-1")[1]
    assert IdempotencyKey.objects.count() == 1


def test_a_key_that_is_too_long_is_refused(alice, runtime):
    with pytest.raises(Invalid, match="255") as refused:
        actions.launch(alice, LaunchRequest(), "k" * 256)
    assert refused.value.field == "Idempotency-Key"


# Maintenance


def test_in_maintenance_nobody_can_launch_and_the_message_says_until_when(alice, runtime, clock):
    site = Site.current()
    site.drained_until = timezone.now() + timedelta(minutes=20)
    site.drain_message = "New disks."
    site.save()

    with pytest.raises(Unavailable, match=r"New disks\. It should be over in 20") as refused:
        request(alice)
    assert refused.value.retry_at == site.drained_until

    clock.forward(minutes=20)
    assert request(alice)


# Extension


def test_an_extension_moves_the_end_and_restarts_the_idle_clock(alice, runtime, clock):
    sandbox = launch(alice)
    before = sandbox.expires_at
    clock.forward(minutes=10)

    extension = actions.extend(sandbox, 45, alice)

    assert (extension.minutes, extension.by_operator) == (45, False)
    assert sandbox.expires_at == before + timedelta(minutes=45)
    assert sandbox.last_activity_at == timezone.now()
    assert last_line(sandbox) == "Extended by 45 minutes."


def test_its_owner_extends_a_sandbox_once(alice, runtime):
    sandbox = launch(alice)
    actions.extend(sandbox, 10, alice)
    ends = sandbox.expires_at

    with pytest.raises(Conflict, match="extended already"):
        actions.extend(sandbox, 10, alice)
    assert again(sandbox).expires_at == ends


def test_operators_extend_it_again_and_say_why(alice, olga, runtime):
    sandbox = launch(alice, ttl_minutes=15)
    actions.extend(sandbox, 10, alice)
    actions.extend(sandbox, 20, olga, "The workshop runs late.")
    actions.extend(sandbox, 5, olga, "Later still.")

    assert sandbox.expires_at == sandbox.started_at + timedelta(minutes=50)
    assert [e.by_operator for e in sandbox.extensions.order_by("id")] == [False, True, True]
    assert last_line(sandbox) == "Extended by 5 minutes. Later still."


@pytest.mark.parametrize("minutes", [0, -5, 121, 10**6])
def test_an_extension_is_of_1_to_120_minutes(alice, runtime, minutes):
    sandbox = launch(alice)

    with pytest.raises(Invalid, match="1 to 120 minutes") as refused:
        actions.extend(sandbox, minutes, alice)
    assert refused.value.field == "minutes"
    assert not sandbox.extensions.exists()


def test_an_extension_stops_at_the_hard_cap(alice, olga, runtime):
    sandbox = launch(alice, ttl_minutes=120)
    actions.extend(sandbox, 90, alice)

    assert actions.extend(sandbox, 120, olga).minutes == 30
    assert sandbox.expires_at == sandbox.hard_cap_at
    assert sandbox.expires_at == sandbox.started_at + timedelta(minutes=240)
    with pytest.raises(Conflict, match="longest lifetime"):
        actions.extend(sandbox, 1, olga)


def test_an_extension_by_less_than_a_minute_is_not_spent(alice, runtime):
    sandbox = launch(alice)
    nearly = sandbox.expires_at + timedelta(seconds=59)
    Sandbox.objects.filter(pk=sandbox.pk).update(hard_cap_at=nearly)

    with pytest.raises(Conflict, match="longest lifetime"):
        actions.extend(sandbox, 60, alice)
    assert not sandbox.extensions.exists()


def test_only_a_running_sandbox_is_extended(alice, runtime):
    with pytest.raises(Conflict, match="this one is pending"):
        actions.extend(request(alice), 10, alice)


# Keep alive


def test_a_touch_starts_the_idle_clock_again(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(minutes=29)

    actions.touch(sandbox, alice)

    assert sandbox.idle_expires_at == timezone.now() + timedelta(minutes=30)
    assert story(sandbox)[-1] == "touched"


def test_a_touch_moves_no_other_clock(alice, runtime, clock):
    sandbox = launch(alice)
    before = sandbox.expires_at, sandbox.hard_cap_at
    clock.forward(minutes=29)
    actions.touch(sandbox, alice)

    assert (sandbox.expires_at, sandbox.hard_cap_at) == before


@pytest.mark.parametrize("act", ["touch", "extend"])
def test_nothing_is_shortened_by_a_clock_that_was_set_back(alice, runtime, clock, act):
    sandbox = launch(alice)
    before = sandbox.idle_expires_at
    clock.forward(minutes=-20)

    actions.touch(sandbox, alice) if act == "touch" else actions.extend(sandbox, 5, alice)

    assert sandbox.idle_expires_at >= before


def test_looking_at_a_sandbox_keeps_nothing_alive(alice, runtime, clock):
    sandbox = launch(alice)
    before = sandbox.idle_expires_at
    clock.forward(minutes=5)

    actions.credentials(sandbox, alice)
    actions.refusal_to_launch(alice)
    list(alice.sandboxes.active())

    assert again(sandbox).idle_expires_at == before


# Reset


def test_a_reset_runs_the_blueprints_command_and_changes_no_endpoint(alice, runtime):
    sandbox = launch(alice)
    before = sandbox.addresses, actions.credentials(sandbox, alice)

    with committed():
        actions.reset(sandbox, alice)

    assert [(name, service) for name, service, _ in runtime.executed] == [
        (sandbox.public_id, "db")
    ]
    assert (again(sandbox).addresses, actions.credentials(sandbox, alice)) == before
    assert again(sandbox).reset_requested_at is None
    assert "reset" in story(sandbox)


def test_a_reset_that_is_asked_for_twice_happens_once(alice, runtime):
    sandbox = launch(alice)
    with committed():
        actions.reset(sandbox, alice)
        actions.reset(sandbox, alice)

    assert len(runtime.executed) == 1
    assert story(sandbox).count("reset_requested") == 1


# Destroy


def test_its_owner_destroys_a_sandbox(alice, runtime):
    sandbox = launch(alice)
    with committed():
        actions.destroy(sandbox, alice)

    sandbox = again(sandbox)
    assert (sandbox.state, sandbox.end_reason) == (State.DESTROYED, EndReason.USER)
    assert runtime.observe() == {}


def test_destroying_again_is_no_error_and_changes_nothing(alice, runtime):
    sandbox = launch(alice)
    for _ in range(2):
        with committed():
            actions.destroy(sandbox, alice)
    journal = story(sandbox)
    with committed():
        actions.destroy(sandbox, alice)

    assert again(sandbox).state == State.DESTROYED
    assert story(sandbox) == journal


def test_a_request_that_nobody_took_up_yet_can_be_cancelled(alice, runtime):
    sandbox = request(alice)
    with committed():
        actions.destroy(sandbox, alice)
    provisioning.provision(again(sandbox))

    assert again(sandbox).state == State.DESTROYED
    assert runtime.observe() == {}


def test_an_operators_reason_is_in_the_journal_and_on_the_card(alice, olga, runtime):
    sandbox = launch(alice)
    with committed():
        actions.destroy(sandbox, olga, "Mining coins.")

    sandbox = again(sandbox)
    line = sandbox.events.get(kind="ending")
    assert (sandbox.end_reason, sandbox.end_message) == (EndReason.OPERATOR, "Mining coins.")
    assert (line.by, line.actor, line.message) == ("operator", olga, "Mining coins.")


# Credentials


def test_every_look_at_the_credentials_is_journalled_and_shows_no_secret(alice, runtime):
    sandbox = launch(alice)
    shown = actions.credentials(sandbox, alice)
    actions.credentials(sandbox, alice)

    assert story(sandbox).count("credentials_read") == 2
    journal = "".join(f"{e.message}{e.data}" for e in Event.objects.all())
    assert not any(secret in journal for secret in shown.values())


def test_credentials_are_those_of_a_running_sandbox(alice, runtime):
    sandbox = launch(alice)
    with committed():
        actions.destroy(sandbox, alice)

    with pytest.raises(Conflict, match="this one is destroyed"):
        actions.credentials(sandbox, alice)


# Funding


def test_friendbot_is_asked_again_on_request(alice, runtime):
    sandbox = launch(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(
        funding=Funding.FAILED, funding_attempts=10, funding_due_at=None
    )

    actions.retry_funding(sandbox, alice)

    assert (sandbox.funding, sandbox.funding_attempts) == (Funding.PENDING, 0)
    assert sandbox.funding_due_at
    assert story(sandbox)[-1] == "funding_asked"


def test_a_funded_account_is_not_asked_for_again(alice, runtime):
    sandbox = launch(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(funding=Funding.FUNDED)

    with pytest.raises(Conflict, match="funded already"):
        actions.retry_funding(sandbox, alice)


# What races


def test_a_request_for_a_sandbox_that_ended_meanwhile_is_refused(alice, runtime, clock):
    sandbox = launch(alice)
    stale = again(sandbox)
    clock.forward(minutes=61)
    sweep()

    for ask in (actions.touch, actions.reset):
        with pytest.raises(Conflict, match="this one is destroyed"):
            ask(stale, alice)
    with pytest.raises(Conflict, match="this one is destroyed"):
        actions.extend(stale, 10, alice)


def test_a_queue_that_is_away_is_not_the_callers_error(alice, runtime, monkeypatch):
    from sandboxes import tasks

    def unreachable(*_):
        raise ConnectionRefusedError

    monkeypatch.setattr(tasks.provision, "delay", unreachable)
    with committed():
        sandbox, _ = actions.launch(alice, LaunchRequest())

    assert again(sandbox).state == State.PENDING
