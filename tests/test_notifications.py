"""Warnings: once for each deadline, of the clock that ends it."""

from __future__ import annotations

import pytest
from django.core import mail

from sandboxes import actions
from sandboxes.models import Sandbox
from tests.acting import again, committed, launch, story, sweep

pytestmark = pytest.mark.django_db


def warned(sandbox: Sandbox) -> int:
    return story(sandbox).count("warned")


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


def test_two_sweeps_warn_once(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    one, other = again(sandbox), again(sandbox)
    from sandboxes import housekeeping

    with committed():
        assert housekeeping.warn(one, idle=False)
        assert not housekeeping.warn(other, idle=False)
    assert warned(sandbox) == 1


def test_a_warning_that_an_extension_overtook_is_not_given(alice, runtime, clock):
    from sandboxes import housekeeping

    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    stale = again(sandbox)
    actions.extend(sandbox, 60, alice)

    assert not housekeeping.warn(stale, idle=False)
