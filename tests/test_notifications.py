"""Warnings: once for each deadline, of the clock that ends it."""

from __future__ import annotations

import smtplib

import pytest
from django.core import mail

from sandboxes import actions, notifications, tasks
from sandboxes.models import Sandbox
from sandboxes.reaper import Sweep
from sandboxportal.celery import app
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


def test_a_warning_says_which_sandbox_ends_when_why_and_what_to_do(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15, name="Checkout tests")
    clock.forward(minutes=11)
    sweep()

    message = mail.outbox[0]
    assert message.subject == "Checkout tests ends soon"
    assert sandbox.public_id in message.body
    assert f"{sandbox.expires_at:%H:%M} UTC" in message.body
    assert "Extend" in message.body
    assert "http://127.0.0.1:8000/" in message.body


def test_an_idle_warning_says_how_to_keep_it(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    clock.forward(minutes=26)
    sweep()

    message = mail.outbox[0]
    assert "nobody is using it" in message.subject
    assert f"{sandbox.idle_expires_at:%H:%M} UTC" in message.body
    assert "Keep alive" in message.body


def test_a_name_cannot_put_lines_into_a_mail(alice, runtime, clock):
    launch(alice, ttl_minutes=15, name="<b>Tom & Jerry</b>")
    clock.forward(minutes=11)
    sweep()

    assert mail.outbox[0].subject == "<b>Tom & Jerry</b> ends soon"


def test_a_message_that_lay_around_until_the_deadline_moved_is_dropped(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    Sweep().run()
    actions.extend(sandbox, 60, alice)
    tasks.warn(sandbox.public_id, "expired")

    assert mail.outbox == []


def test_a_message_that_outlived_its_sandbox_is_dropped(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    Sweep().run()
    actions.destroy(sandbox, alice)
    tasks.warn(sandbox.public_id, "expired")

    assert mail.outbox == []


def test_an_owner_without_an_address_gets_no_mail_and_stops_nothing(alice, runtime, clock):
    alice.email = ""
    alice.save()
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)

    assert sweep().errors == []
    assert mail.outbox == []
    assert warned(sandbox) == 0


def test_a_mail_server_that_is_away_for_a_moment_loses_no_warning(
    alice, runtime, clock, monkeypatch
):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    real, tries = notifications.send_mail, []

    def away_at_first(*args):
        tries.append(args)
        if len(tries) < 3:
            raise smtplib.SMTPServerDisconnected
        return real(*args)

    monkeypatch.setattr(notifications, "send_mail", away_at_first)
    # Run in place, a task that is tried again raises that in its caller; a worker has none.
    monkeypatch.setitem(app.conf, "task_eager_propagates", False)
    sweep()

    assert len(tries) == 3
    assert len(mail.outbox) == warned(sandbox) == 1
