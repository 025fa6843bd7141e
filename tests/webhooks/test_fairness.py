"""Owners take turns: no receiver of one owner delays another owner's deliveries for long."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from sandboxes.models import Webhook, WebhookDelivery
from sandboxes.webhooks import client, delivery, delivery_queue, endpoints, outbox
from tests.fakes.friendbot import raw_server
from tests.fakes.webhook_receiver import Receiver, create_webhook, last_delivery, reload_webhook
from tests.harness.databases import run_in_threads
from tests.helpers.wait import wait_for

pytestmark = [
    pytest.mark.usefixtures("shared_database", "queued_tasks"),
    pytest.mark.store,
    pytest.mark.slow,
]

THREADS = 10
ATTEMPT_SECONDS = 30
"""Duration of an attempt at a tarpit, unless the test ends first."""
SOON = 15
"""Seconds within which a message has to arrive to wait for none of these attempts."""


def create_user(name: str) -> User:
    return User.objects.create_user(name, f"{name}@example.com")


def flood(user: User, url: str, messages: int = outbox.MAX_PENDING) -> None:
    """Create as many webhooks as allowed, and messages for each."""
    for _ in range(5):
        webhook, _ = endpoints.create(user, url, ["sandbox.running"])
        for _ in range(messages):
            outbox.send_test(webhook)


class Workers:
    """Threads that deliver, each woken by a message as a worker's threads are."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads

    def wake(self, messages: int = THREADS) -> None:
        for _ in range(messages):
            self._threads.submit(self._deliver)

    def _deliver(self) -> None:
        try:
            delivery.deliver_due()
        finally:
            connections.close_all()


@pytest.fixture
def workers() -> Iterator[Workers]:
    with ThreadPoolExecutor(THREADS) as threads:
        yield Workers(threads)
        # What waits for a tarpit isn't tried any more.
        WebhookDelivery.objects.all().delete()


@pytest.fixture
def tarpit(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of a receiver that never answers; its end ends the attempts of the workers."""
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", ATTEMPT_SECONDS)
    with raw_server(sends=None) as url:
        yield f"{url}/hook"


def seconds_to_deliver(user: User, receiver: Receiver, workers: Workers) -> float:
    """Send a test message to the receiver; return how long it took to arrive."""
    webhook, _ = create_webhook(user, receiver)
    began = monotonic()
    outbox.send_test(webhook)
    workers.wake(1)
    wait_for(lambda: receiver.messages, "the message arrives", 2 * ATTEMPT_SECONDS)
    return monotonic() - began


def test_a_tarpit_does_not_delay_the_deliveries_of_other_owners(
    receiver: Receiver, tarpit: str, workers: Workers
) -> None:
    flood(create_user("mallory"), tarpit)
    workers.wake()
    wait_for(lambda: WebhookDelivery.objects.filter(attempts__gt=0).exists(), "it is tried")

    assert seconds_to_deliver(create_user("alice"), receiver, workers) < SOON


def test_tarpits_of_many_owners_occupy_only_a_part_of_the_threads(
    receiver: Receiver, tarpit: str, workers: Workers
) -> None:
    crowd = [create_user(f"mallory{number}") for number in range(THREADS + 2)]
    for user in crowd:
        flood(user, tarpit, messages=2)
        user.webhooks.update(slow=True)
    workers.wake()
    wait_for(lambda: WebhookDelivery.objects.filter(attempts__gt=0).count() >= 3, "they are tried")

    assert seconds_to_deliver(create_user("alice"), receiver, workers) < SOON
    sending = Webhook.objects.filter(leased_until__gt=timezone.now())
    assert sending.filter(slow=True).count() <= delivery_queue.SLOW_THREADS


def test_a_webhook_is_slow_until_an_attempt_was_quick(
    receiver: Receiver, tarpit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", delivery_queue.SLOW_SECONDS + 0.2)
    webhook, _ = endpoints.create(create_user("alice"), tarpit, ["sandbox.running"])
    outbox.send_test(webhook)
    delivery.deliver_due()
    assert reload_webhook(webhook).slow

    endpoints.update(webhook, url=receiver.url)
    outbox.send_test(webhook)
    delivery.deliver_due()
    assert not reload_webhook(webhook).slow
    assert last_delivery(webhook).status == "delivered"


def test_owners_are_served_in_turn(receiver: Receiver) -> None:
    alice, bob = create_user("alice"), create_user("bob")
    for user, messages in ((alice, 6), (bob, 2)):
        webhook, _ = create_webhook(user, receiver)
        for _ in range(messages):
            outbox.send_test(webhook)
    delivery.deliver_due()

    by_owner = dict(WebhookDelivery.objects.values_list("message_id", "webhook__user__username"))
    assert [by_owner[message] for message in receiver.ids] == ["alice", "bob"] * 2 + ["alice"] * 4


def test_one_webhook_of_an_owner_is_sent_to_at_a_time(receiver: Receiver) -> None:
    alice = create_user("alice")
    for _ in range(3):
        outbox.send_test(create_webhook(alice, receiver)[0])
    claimed = run_in_threads(3, lambda _: delivery._claim())

    assert sum(one is not None for one in claimed) == 1
