"""Concurrent sweeps, workers and clicks notify once, on both kinds of databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.utils import timezone

from sandboxes.actions import email_links
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import Extension, Sandbox, SandboxWarning, Webhook, WebhookDelivery
from sandboxes.notifications import emails
from sandboxes.reaper.sweep import Sweep
from sandboxes.webhooks import delivery, outbox
from tests.fakes.webhook_receiver import Receiver, create_webhook
from tests.harness.databases import run_in_threads
from tests.helpers.scenarios import create_singletons, launch, reload

pytestmark = [
    pytest.mark.usefixtures("shared_database", "queued_tasks", "runtime"),
    pytest.mark.store,
]


@pytest.fixture
def carol(shared_database: None) -> User:
    create_singletons()
    return User.objects.create_user("carol", "carol@example.com")


def launch_expiring_soon(user: User) -> Sandbox:
    sandbox = launch(user)
    soon = timezone.now() + timedelta(minutes=4)
    Sandbox.objects.filter(pk=sandbox.pk).update(expires_at=soon)
    return reload(sandbox)


def test_concurrent_sweeps_and_workers_notify_of_a_deadline_once(
    carol: User, receiver: Receiver
) -> None:
    _, secret = create_webhook(carol, receiver, "sandbox.warning")
    rows = [launch_expiring_soon(carol) for _ in range(3)]

    sweeps = run_in_threads(4, lambda _: Sweep().run())
    run_in_threads(4, lambda _: emails.send_due_mails())
    run_in_threads(3, lambda _: delivery.deliver_due())
    delivery.deliver_due()

    assert [s.errors for s in sweeps] == [[]] * 4
    assert sum(s.counts["warn"] for s in sweeps) == 3
    assert SandboxWarning.objects.exclude(mailed_at=None).count() == 3
    assert len(mail.outbox) == 3
    notified = {message["data"]["id"] for message in receiver.verified(secret)}
    assert notified == {row.public_id for row in rows}
    assert len(receiver.messages) == 3


def test_concurrent_workers_deliver_each_message_once(carol: User, receiver: Receiver) -> None:
    webhooks = [create_webhook(carol, receiver)[0] for _ in range(3)]
    for webhook in webhooks:
        for _ in range(4):
            outbox.send_test(webhook)

    run_in_threads(3, lambda _: delivery.deliver_due())
    delivery.deliver_due()

    assert len(receiver.ids) == len(set(receiver.ids)) == 12
    assert not WebhookDelivery.objects.exclude(status="delivered").exists()
    assert not Webhook.objects.exclude(leased_until=None).exists()


def test_concurrent_clicks_on_one_link_extend_once(carol: User) -> None:
    sandbox = launch_expiring_soon(carol)
    Sweep().run()
    warning = SandboxWarning.objects.get()

    def click(_: int) -> bool:
        try:
            email_links.keep_alive(warning)
        except StateConflict:
            return False
        return True

    assert sorted(run_in_threads(4, click)) == [False, False, False, True]
    assert Extension.objects.filter(sandbox=sandbox).count() == 1


def test_concurrently_created_webhooks_respect_the_limit(carol: User, receiver: Receiver) -> None:
    def create(_: int) -> bool:
        try:
            create_webhook(carol, receiver)
        except StateConflict:
            return False
        return True

    assert sum(run_in_threads(8, create)) == 5
    assert sorted(Webhook.objects.values_list("slot", flat=True)) == [1, 2, 3, 4, 5]
