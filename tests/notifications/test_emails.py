"""Warnings: once for each deadline, of the clock that ends it."""

from __future__ import annotations

import re
import smtplib

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives

from sandboxes import actions
from sandboxes.core import journal as core_journal
from sandboxes.models import Sandbox, SandboxWarning
from sandboxes.notifications import emails, sandbox_warnings
from sandboxes.notifications import tasks as worker_tasks
from sandboxes.reaper.sweep import Sweep
from tests.helpers.scenarios import (
    Killed,
    again,
    committed,
    launch,
    story,
    sweep,
)

pytestmark = [pytest.mark.django_db, pytest.mark.store]


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
    runtime.add_traffic(sandbox.public_id)
    sweep()
    assert warned(sandbox) == 1

    clock.forward(minutes=26)
    sweep()
    assert warned(sandbox) == 2


def test_two_sweeps_warn_once(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    one, other = again(sandbox), again(sandbox)
    from sandboxes.reaper import housekeeping

    with committed():
        assert housekeeping.warn(one, idle=False)
        assert not housekeeping.warn(other, idle=False)
    assert warned(sandbox) == 1


def test_a_warning_that_an_extension_overtook_is_not_given(alice, runtime, clock):
    from sandboxes.reaper import housekeeping

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
    assert message.subject == f"“Checkout tests” expires at {sandbox.expires_at:%H:%M} UTC"
    assert sandbox.public_id in message.body
    assert f"{sandbox.expires_at:%H:%M} UTC" in message.body
    assert "extend" in message.body
    assert "http://127.0.0.1:8000/" in message.body


def test_an_idle_warning_says_how_to_keep_it(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    clock.forward(minutes=26)
    sweep()

    message = mail.outbox[0]
    assert "unless it's used" in message.subject
    assert f"{sandbox.idle_expires_at:%H:%M} UTC" in message.body
    assert "to keep it" in message.body


def test_a_name_cannot_put_lines_into_a_mail(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15, name="<b>Tom & Jerry</b>")
    clock.forward(minutes=11)
    sweep()

    time = f"{sandbox.expires_at:%H:%M}"
    assert mail.outbox[0].subject == f"“<b>Tom & Jerry</b>” expires at {time} UTC"


def test_a_message_that_lay_around_until_the_deadline_moved_is_dropped(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    Sweep().run()
    actions.extend(sandbox, 60, alice)
    worker_tasks.send_mails()

    assert mail.outbox == []


def test_a_message_that_outlived_its_sandbox_is_dropped(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    Sweep().run()
    actions.destroy(sandbox, alice)
    worker_tasks.send_mails()

    assert mail.outbox == []


def test_an_owner_without_an_address_gets_no_mail_and_is_warned_all_the_same(alice, runtime, clock):
    alice.email = ""
    alice.save()
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)

    assert sweep().errors == []
    assert mail.outbox == []
    assert warned(sandbox) == 1
    assert [one.sandbox for one in sandbox_warnings.active_warnings(alice)] == [sandbox]


@pytest.fixture
def mail_server(monkeypatch):
    """Refuses so many mails as a test says, then works; counts the tries."""
    real, server = EmailMultiAlternatives.send, {"tries": 0, "refuses": 0}

    def send(letter, *args):
        server["tries"] += 1
        if server["tries"] <= server["refuses"]:
            raise smtplib.SMTPServerDisconnected
        return real(letter, *args)

    monkeypatch.setattr(EmailMultiAlternatives, "send", send)
    return server


def test_a_mail_server_that_is_away_for_a_moment_loses_no_warning(
    alice, runtime, clock, mail_server
):
    mail_server["refuses"] = 2
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    for _ in range(5):
        sweep()
        clock.forward(seconds=30)

    assert mail_server["tries"] == 3
    assert len(mail.outbox) == warned(sandbox) == 1


def test_a_mail_server_that_stays_away_is_not_asked_after_the_deadline(
    alice, runtime, clock, mail_server
):
    mail_server["refuses"] = 99
    launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    sweep()
    clock.forward(minutes=5)
    sweep()
    sweep()

    assert mail_server["tries"] == 1
    assert not SandboxWarning.objects.exclude(mail_due_at=None).exists()


def test_a_worker_killed_while_it_sends_leaves_the_mail_to_the_next(
    alice, runtime, clock, monkeypatch
):
    def die(*_):
        raise Killed

    launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    Sweep().run()
    with monkeypatch.context() as until_then:
        until_then.setattr(emails, "send_warning", die)
        with pytest.raises(Killed):
            worker_tasks.send_mails()
    worker_tasks.send_mails()
    assert mail.outbox == [], "the first may be at it still"
    clock.forward(seconds=61)
    sweep()
    sweep()

    assert len(mail.outbox) == 1


def test_a_message_to_the_worker_that_was_lost_loses_no_mail(alice, runtime, clock):
    launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    Sweep().run()
    sweep()

    assert len(mail.outbox) == 1


def test_two_workers_send_one_mail(alice, runtime, clock):
    launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    Sweep().run()
    worker_tasks.send_mails()
    worker_tasks.send_mails()

    assert len(mail.outbox) == 1


def test_mails_have_two_parts_that_say_the_same_and_how_to_stop_them(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15, name="<b>Tom & Jerry</b>")
    clock.forward(minutes=11)
    sweep()

    letter = mail.outbox[0]
    html, kind = letter.alternatives[0]
    assert kind == "text/html"
    assert "&lt;b&gt;Tom &amp; Jerry&lt;/b&gt;" in html and "<b>Tom" not in html
    links = set(re.findall(r"http://127\.0\.0\.1:8000/\S+", letter.body))
    assert links <= set(re.findall(r'href="([^"]+)"', html))
    assert {link.split("/")[3] for link in links} == {"keep", "sandboxes", "unsubscribe"}
    headers = letter.message()
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert headers["List-Unsubscribe"].strip("<>") in links
    assert f"{sandbox.expires_at:%H:%M} UTC" in html


def test_an_operators_message_has_two_parts_too(alice, olga, runtime):
    sandbox = launch(alice, name="R&D")
    event = core_journal.record(sandbox, "message", "Please <stop>\nthe load test.", actor=olga)
    worker_tasks.send_message(sandbox.public_id, event.pk)

    letter = mail.outbox[0]
    assert letter.subject == "Message from your portal administrator about R&D"
    assert "Please <stop>" in letter.body
    assert "Please &lt;stop&gt;<br>the load test." in letter.alternatives[0][0]
