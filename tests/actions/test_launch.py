"""Launching: valid and invalid options, and idempotency keys."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from sandboxes import actions
from sandboxes.actions import LaunchRequest
from sandboxes.lib.exceptions import IdempotencyKeyReused, Unavailable, ValidationFailed
from sandboxes.models import IdempotencyKey, Maintenance, Sandbox, State
from tests.helpers.scenarios import (
    launch,
    reload,
    request,
    run_on_commit,
)

pytestmark = pytest.mark.django_db


def test_a_launch_leads_to_a_running_sandbox(alice, runtime):
    with run_on_commit():
        sandbox, new = actions.launch_sandbox(alice, LaunchRequest(name="My first"))

    sandbox = reload(sandbox)
    assert new
    assert (sandbox.state, sandbox.name, sandbox.ttl_minutes) == (State.RUNNING, "My first", 60)
    assert set(runtime.observe()) == {sandbox.public_id}
    assert [step["name"] for step in sandbox.steps] == ["network", "containers", "ready"]
    assert {step["state"] for step in sandbox.steps} == {"done"}


def test_the_row_is_committed_before_the_engine_is_called(alice, runtime):
    with transaction.atomic():
        sandbox = request(alice)
        assert runtime.observe() == {}

    assert sandbox.pk


@pytest.mark.parametrize("minutes", [15, 60, 120])
def test_a_lifetime_from_15_to_120_minutes_can_be_chosen(alice, runtime, minutes):
    assert request(alice, ttl_minutes=minutes).ttl_minutes == minutes


@pytest.mark.parametrize(
    ("choices", "field", "remedy"),
    [
        ({"ttl_minutes": 14}, "ttl_minutes", "from 15 to 120"),
        ({"ttl_minutes": 121}, "ttl_minutes", "from 15 to 120"),
        ({"ttl_minutes": -1}, "ttl_minutes", "from 15 to 120"),
        ({"blueprint": "payroll"}, "blueprint", "Available: billing"),
        ({"name": "x" * 61}, "name", "at most 60"),
        ({"name": "a\nb"}, "name", "line breaks"),
    ],
)
def test_invalid_input_is_rejected_with_its_field_and_a_remedy(
    alice, runtime, choices, field, remedy
):
    with pytest.raises(ValidationFailed, match=remedy) as refused:
        request(alice, **choices)

    assert refused.value.field == field
    assert not Sandbox.objects.exists()


def test_each_sandbox_has_its_own_credentials(alice, runtime):
    one, two = launch(alice), launch(alice)

    mine, other = actions.read_credentials(one, alice), actions.read_credentials(two, alice)

    assert set(mine) == {"api_key", "database_url", "stellar_secret"}
    assert not set(mine.values()) & set(other.values())
    assert one.stellar_public_key != two.stellar_public_key


def test_the_same_key_and_request_launch_one_sandbox(alice, runtime):
    first, new = actions.launch_sandbox(alice, LaunchRequest(ttl_minutes=30), "k-1")
    second, newer = actions.launch_sandbox(alice, LaunchRequest(ttl_minutes=30), "k-1")

    assert (first.pk, new, newer) == (second.pk, True, False)
    assert alice.sandboxes.count() == 1


def test_a_key_replays_when_its_sandbox_has_ended_and_no_slot_is_free(alice, runtime):
    first, _ = actions.launch_sandbox(alice, LaunchRequest(), "k-1")
    with run_on_commit():
        actions.destroy(first, alice)
    for _ in range(3):
        request(alice)

    assert actions.launch_sandbox(alice, LaunchRequest(), "k-1") == (first, False)


def test_a_key_with_a_different_request_is_rejected(alice, runtime):
    actions.launch_sandbox(alice, LaunchRequest(ttl_minutes=30), "k-1")

    with pytest.raises(IdempotencyKeyReused, match="different request"):
        actions.launch_sandbox(alice, LaunchRequest(ttl_minutes=31), "k-1")
    assert alice.sandboxes.count() == 1


def test_a_rejected_launch_does_not_use_up_its_key(alice, runtime):
    with pytest.raises(ValidationFailed):
        actions.launch_sandbox(alice, LaunchRequest(ttl_minutes=1), "k-1")

    assert not IdempotencyKey.objects.exists()


def test_keys_of_different_users_are_independent(alice, bob, runtime):
    mine, _ = actions.launch_sandbox(alice, LaunchRequest(), "k-1")
    his, new = actions.launch_sandbox(bob, LaunchRequest(), "k-1")

    assert new and mine.pk != his.pk


def test_a_key_expires_after_24_hours(alice, runtime, clock):
    actions.launch_sandbox(alice, LaunchRequest(), "k-1")
    clock.forward(hours=24, seconds=1)

    assert actions.launch_sandbox(alice, LaunchRequest(), "k-1")[1]
    assert IdempotencyKey.objects.count() == 1


def test_a_key_that_is_too_long_is_rejected(alice, runtime):
    with pytest.raises(ValidationFailed, match="255") as refused:
        actions.launch_sandbox(alice, LaunchRequest(), "k" * 256)
    assert refused.value.field == "Idempotency-Key"


def test_maintenance_blocks_launches_and_says_until_when(alice, runtime, clock):
    maintenance = Maintenance.current()
    maintenance.until = timezone.now() + timedelta(minutes=20)
    maintenance.message = "New disks."
    maintenance.save()

    with pytest.raises(Unavailable, match=r"New disks\. It should end in 20") as refused:
        request(alice)
    assert refused.value.retry_at == maintenance.until

    clock.forward(minutes=20)
    assert request(alice)
