"""Emails of warnings: once per deadline."""

from __future__ import annotations

import re
import smtplib

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives

from sandboxes import actions
from sandboxes.accounts import invitations
from sandboxes.actions import operators
from sandboxes.core import journal
from sandboxes.models import Event, Invitation, Sandbox, SandboxWarning
from sandboxes.notifications import emails, sandbox_warnings
from sandboxes.notifications import tasks as notification_tasks
from sandboxes.reaper.sweep import Sweep
from tests.helpers.scenarios import (
    Killed,
    event_kinds,
    launch,
    reload,
    run_on_commit,
    sweep,
)

pytestmark = pytest.mark.django_db


def warned(sandbox: Sandbox) -> int:
    return event_kinds(sandbox).count("warned")


def test_a_warning_overtaken_by_an_extension_is_not_sent(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    stale = reload(sandbox)
    actions.extend(sandbox, 60, alice)

    assert not sandbox_warnings.warn(stale, idle=False)


def test_an_expiry_warning_contains_sandbox_time_and_remedy(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15, name="Checkout tests")
    clock.forward(minutes=11)
    sweep()

    message = mail.outbox[0]
    assert message.subject == f"“Checkout tests” expires at {sandbox.expires_at:%H:%M} UTC"
    assert sandbox.public_id in message.body
    assert f"{sandbox.expires_at:%H:%M} UTC" in message.body
    assert "extend" in message.body
    assert "http://127.0.0.1:8000/" in message.body


def test_an_idle_warning_contains_time_and_remedy(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=120)
    clock.forward(minutes=26)
    sweep()

    message = mail.outbox[0]
    assert "unless it's used" in message.subject
    assert f"{sandbox.idle_expires_at:%H:%M} UTC" in message.body
    assert "to keep it" in message.body


def test_a_sandbox_name_is_escaped_in_the_subject(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15, name="<b>Tom & Jerry</b>")
    clock.forward(minutes=11)
    sweep()

    time = f"{sandbox.expires_at:%H:%M}"
    assert mail.outbox[0].subject == f"“<b>Tom & Jerry</b>” expires at {time} UTC"


def test_an_email_whose_deadline_has_moved_is_dropped(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    Sweep().run()
    actions.extend(sandbox, 60, alice)
    notification_tasks.send_mails()

    assert mail.outbox == []


def test_an_email_whose_sandbox_has_ended_is_dropped(alice, runtime, clock):
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    Sweep().run()
    actions.destroy(sandbox, alice)
    notification_tasks.send_mails()

    assert mail.outbox == []


def test_an_owner_without_email_address_is_still_warned(alice, runtime, clock):
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
    """Mail server that refuses the first `refuses` emails and counts attempts."""
    real, server = EmailMultiAlternatives.send, {"tries": 0, "refuses": 0}

    def send(letter, *args):
        server["tries"] += 1
        if server["tries"] <= server["refuses"]:
            raise smtplib.SMTPServerDisconnected
        return real(letter, *args)

    monkeypatch.setattr(EmailMultiAlternatives, "send", send)
    return server


def test_a_short_mail_server_outage_loses_no_warning(alice, runtime, clock, mail_server):
    mail_server["refuses"] = 2
    sandbox = launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    for _ in range(5):
        sweep()
        clock.forward(seconds=30)

    assert mail_server["tries"] == 3
    assert len(mail.outbox) == warned(sandbox) == 1


def test_a_warning_is_not_retried_after_the_deadline(alice, runtime, clock, mail_server):
    mail_server["refuses"] = 99
    launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    sweep()
    clock.forward(minutes=5)
    sweep()
    sweep()

    assert mail_server["tries"] == 1
    assert not SandboxWarning.objects.exclude(mail_due_at=None).exists()


def test_an_operators_message_is_retried_until_it_is_sent(alice, olga, runtime, clock, mail_server):
    mail_server["refuses"] = 3
    sandbox = launch(alice, ttl_minutes=60)
    with run_on_commit():
        operators.message_owner(sandbox, olga, "Please stop the load test.")
    assert mail.outbox == []
    for _ in range(6):
        clock.forward(minutes=1)
        sweep()

    assert mail_server["tries"] == 4
    assert [letter.to for letter in mail.outbox] == [["alice@example.com"]]


def test_an_operators_message_is_given_up_after_a_day(alice, olga, runtime, clock, mail_server):
    mail_server["refuses"] = 99
    operators.message_owner(launch(alice), olga, "Please stop the load test.")
    sweep()
    clock.forward(days=1, seconds=1)
    sweep()

    assert mail_server["tries"] == 2
    assert not Event.objects.exclude(mail_due_at=None).exists()


def test_an_invitation_is_retried_until_it_is_sent_or_expires(runtime, clock, mail_server):
    mail_server["refuses"] = 2
    invitation = Invitation.objects.create(email="guest@example.com")
    invitations.request_sending(invitation)
    for _ in range(4):
        sweep()
        clock.forward(minutes=1)
    assert mail_server["tries"] == 3
    assert [letter.to for letter in mail.outbox] == [["guest@example.com"]]

    invitations.request_sending(invitation)
    clock.forward(days=8)
    sweep()
    assert mail_server["tries"] == 3


def test_an_email_whose_worker_was_killed_is_sent_by_the_next(alice, runtime, clock, monkeypatch):
    def die(*_):
        raise Killed

    launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    Sweep().run()
    with monkeypatch.context() as until_then:
        until_then.setattr(emails, "send_warning", die)
        with pytest.raises(Killed):
            notification_tasks.send_mails()
    notification_tasks.send_mails()
    assert mail.outbox == [], "the first worker may still be sending"
    clock.forward(seconds=61)
    sweep()
    sweep()

    assert len(mail.outbox) == 1


def test_a_lost_task_loses_no_email(alice, runtime, clock):
    launch(alice, ttl_minutes=15)
    clock.forward(minutes=11)
    Sweep().run()
    sweep()

    assert len(mail.outbox) == 1


def test_emails_have_a_text_and_an_html_part_and_unsubscribe_headers(alice, runtime, clock):
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


def test_an_operators_message_has_a_text_and_an_html_part(alice, olga, runtime):
    sandbox = launch(alice, name="R&D")
    event = journal.record(sandbox, "message", "Please <stop>\nthe load test.", actor=olga)
    notification_tasks.send_message(sandbox.public_id, event.pk)

    letter = mail.outbox[0]
    assert letter.subject == "Message from your portal administrator about R&D"
    assert "Please <stop>" in letter.body
    assert "Please &lt;stop&gt;<br>the load test." in letter.alternatives[0][0]
