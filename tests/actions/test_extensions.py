"""Extensions and touches: one extension, never past the cap, and no deadline is ever shortened."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sandboxes import actions
from sandboxes.lib.exceptions import StateConflict, ValidationFailed
from sandboxes.models import Sandbox
from tests.helpers.scenarios import (
    event_kinds,
    last_message,
    launch,
    reload,
    request,
)

pytestmark = pytest.mark.django_db


def test_an_extension_moves_the_expiry_and_resets_the_idle_timer(alice, runtime, clock):
    sandbox = launch(alice)
    before = sandbox.expires_at
    clock.forward(minutes=10)

    extension = actions.extend(sandbox, 45, alice)

    assert (extension.minutes, extension.by_operator) == (45, False)
    assert sandbox.expires_at == before + timedelta(minutes=45)
    assert sandbox.last_activity_at == timezone.now()
    assert last_message(sandbox) == "Extended by 45 minutes."


def test_an_owner_can_extend_a_sandbox_once(alice, runtime):
    sandbox = launch(alice)
    actions.extend(sandbox, 10, alice)
    ends = sandbox.expires_at

    with pytest.raises(StateConflict, match="Already extended"):
        actions.extend(sandbox, 10, alice)
    assert reload(sandbox).expires_at == ends


def test_operators_can_extend_again_with_a_reason(alice, olga, runtime):
    sandbox = launch(alice, ttl_minutes=15)
    actions.extend(sandbox, 10, alice)
    actions.extend(sandbox, 20, olga, "The workshop runs late.")
    actions.extend(sandbox, 5, olga, "Later still.")

    assert sandbox.expires_at == sandbox.started_at + timedelta(minutes=50)
    assert [e.by_operator for e in sandbox.extensions.order_by("id")] == [False, True, True]
    assert last_message(sandbox) == "Extended by 5 minutes. Later still."


@pytest.mark.parametrize("minutes", [0, -5, 121, 10**6])
def test_an_extension_is_1_to_120_minutes_long(alice, runtime, minutes):
    sandbox = launch(alice)

    with pytest.raises(ValidationFailed, match="1 to 120 minutes") as refused:
        actions.extend(sandbox, minutes, alice)
    assert refused.value.field == "minutes"
    assert not sandbox.extensions.exists()


def test_an_extension_stops_at_the_hard_cap(alice, olga, runtime):
    sandbox = launch(alice, ttl_minutes=120)
    actions.extend(sandbox, 90, alice)

    assert actions.extend(sandbox, 120, olga).minutes == 30
    assert sandbox.expires_at == sandbox.hard_cap_at
    assert sandbox.expires_at == sandbox.started_at + timedelta(minutes=240)
    with pytest.raises(StateConflict, match="maximum lifetime"):
        actions.extend(sandbox, 1, olga)


def test_an_extension_by_less_than_a_minute_is_rejected_and_stays_available(alice, runtime):
    sandbox = launch(alice)
    nearly = sandbox.expires_at + timedelta(seconds=59)
    Sandbox.objects.filter(pk=sandbox.pk).update(hard_cap_at=nearly)

    with pytest.raises(StateConflict, match="maximum lifetime"):
        actions.extend(sandbox, 60, alice)
    assert not sandbox.extensions.exists()


def test_only_a_running_sandbox_can_be_extended(alice, runtime):
    with pytest.raises(StateConflict, match="this one is pending"):
        actions.extend(request(alice), 10, alice)


def test_a_touch_resets_the_idle_timer(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(minutes=29)

    actions.touch(sandbox, alice)

    assert sandbox.idle_expires_at == timezone.now() + timedelta(minutes=30)
    assert event_kinds(sandbox)[-1] == "touched"


def test_a_touch_moves_no_other_deadline(alice, runtime, clock):
    sandbox = launch(alice)
    before = sandbox.expires_at, sandbox.hard_cap_at
    clock.forward(minutes=29)
    actions.touch(sandbox, alice)

    assert (sandbox.expires_at, sandbox.hard_cap_at) == before


@pytest.mark.parametrize("action", ["touch", "extend"])
def test_a_clock_set_back_shortens_no_deadline(alice, runtime, clock, action):
    sandbox = launch(alice)
    before = sandbox.idle_expires_at
    clock.forward(minutes=-20)

    actions.touch(sandbox, alice) if action == "touch" else actions.extend(sandbox, 5, alice)

    assert sandbox.idle_expires_at >= before


def test_viewing_a_sandbox_does_not_keep_it_alive(alice, runtime, clock):
    sandbox = launch(alice)
    before = sandbox.idle_expires_at
    clock.forward(minutes=5)

    actions.read_credentials(sandbox, alice)
    actions.launch_blocker(alice)
    list(alice.sandboxes.active())

    assert reload(sandbox).idle_expires_at == before
