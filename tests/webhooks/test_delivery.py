"""Delivery of webhook messages: at least once, with retries under the same id."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import EventType, WebhookDelivery
from sandboxes.reaper import housekeeping
from sandboxes.webhooks import (
    client,
    endpoints,
    outbox,
)
from sandboxes.webhooks import (
    delivery as webhooks_delivery,
)
from tests.fakes.webhook_receiver import (
    Receiver,
    create_webhook,
    last_delivery,
    reload_webhook,
    statuses,
)
from tests.helpers.scenarios import (
    Killed,
    create_singletons,
    launch,
    run_on_commit,
    sweep,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.conftest import Clock

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _swept_before() -> None:
    create_singletons()


def test_failed_deliveries_are_retried_with_growing_delays_and_the_same_id(
    alice: User, clock: Clock, receiver: Receiver
) -> None:
    webhook, _ = create_webhook(alice, receiver)
    receiver.status = 500
    with run_on_commit():
        outbox.send_test(webhook)
    delays = []
    while (due_at := last_delivery(webhook).due_at) is not None:
        delays.append(due_at - timezone.now())
        clock.forward(seconds=(due_at - timezone.now()).total_seconds() - 1)
        sweep()
        assert len(receiver.messages) == len(delays), "no attempt before the message is due"
        clock.forward(seconds=1)
        sweep()

    expected = [timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)]
    expected += [timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)]
    assert [want <= delay <= want * 1.1 for want, delay in zip(expected, delays, strict=True)]
    assert len(receiver.messages) == 10
    assert len(set(receiver.ids)) == len({body for _, body in receiver.messages}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in receiver.messages}) == 10
    assert last_delivery(webhook).status == "failed"
    assert statuses(webhook) == [500] * 10


def test_retry_after_delays_the_next_attempt(alice: User, clock: Clock, receiver: Receiver) -> None:
    webhook, _ = create_webhook(alice, receiver)
    receiver.status, receiver.headers = 429, {"Retry-After": "120"}
    with run_on_commit():
        outbox.send_test(webhook)
    due_at = last_delivery(webhook).due_at
    assert due_at == timezone.now() + timedelta(seconds=120)


@pytest.mark.parametrize("value", ["-1", "soon", "9" * 30, "999999", "1e9"])
def test_an_invalid_retry_after_does_not_delay_for_long(
    alice: User, clock: Clock, receiver: Receiver, value: str
) -> None:
    webhook, _ = create_webhook(alice, receiver)
    receiver.status, receiver.headers = 503, {"Retry-After": value}
    with run_on_commit():
        outbox.send_test(webhook)
    due_at = last_delivery(webhook).due_at
    assert due_at and due_at <= timezone.now() + timedelta(hours=1)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(
    alice: User, receiver: Receiver, clock: Clock, status: int
) -> None:
    webhook, _ = create_webhook(alice, receiver)
    receiver.status, receiver.headers = status, {"Location": receiver.url}
    with run_on_commit():
        outbox.send_test(webhook)
    assert len(receiver.messages) == 1
    assert statuses(webhook) == [status]
    assert last_delivery(webhook).status == "pending"


def test_the_log_contains_the_result_of_each_attempt(
    alice: User, clock: Clock, receiver: Receiver
) -> None:
    webhook, _ = create_webhook(alice, receiver)
    receiver.status, receiver.body = 500, b"<h1>It broke</h1>\0" + b"x" * 100_000
    with run_on_commit():
        outbox.send_test(webhook)
    receiver.status, receiver.body = 200, b"ok"
    clock.forward(seconds=10)
    sweep()

    first, second = last_delivery(webhook).log
    assert (first["status"], second["status"]) == (500, 200)
    assert first["response"].startswith("<h1>It broke</h1>x") and len(first["response"]) <= 500
    assert second["response"] == "ok"
    assert last_delivery(webhook).status == "delivered"
    assert reload_webhook(webhook).status == "on"


def test_an_event_whose_worker_was_killed_is_delivered_again(
    alice: User,
    runtime: MemoryRuntime,
    clock: Clock,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(*_: Any) -> None:
        client.post(*_)
        raise Killed

    webhook, secret = create_webhook(alice, receiver, EventType.RUNNING)
    with monkeypatch.context() as until_then:
        until_then.setattr(webhooks_delivery, "post", die)
        with pytest.raises(Killed), run_on_commit():
            launch(alice)
    sweep()
    assert len(receiver.messages) == 1, "the first worker may still be sending"
    clock.forward(seconds=61)
    sweep()
    sweep()

    assert receiver.types(secret) == ["sandbox.running"] * 2
    assert len(set(receiver.ids)) == 1
    assert last_delivery(webhook).status == "delivered"


def test_a_lost_task_loses_no_event(
    alice: User, runtime: MemoryRuntime, receiver: Receiver
) -> None:
    _, secret = create_webhook(alice, receiver, EventType.RUNNING)
    launch(alice)
    assert receiver.messages == []
    sweep()
    sweep()

    assert receiver.types(secret) == ["sandbox.running"]


def test_events_of_one_webhook_are_delivered_sequentially(
    alice: User, receiver: Receiver, clock: Clock
) -> None:
    webhook, _ = create_webhook(alice, receiver)
    outbox.send_test(webhook)
    assert webhooks_delivery._claim()
    outbox.send_test(webhook)
    webhooks_delivery.deliver_due()
    assert receiver.messages == [], "another worker is sending to this webhook"
    clock.forward(seconds=61)
    webhooks_delivery.deliver_due()
    assert len(receiver.messages) == 2


def test_a_slow_worker_with_an_expired_lease_changes_nothing(
    alice: User, receiver: Receiver, clock: Clock
) -> None:
    webhook, _ = create_webhook(alice, receiver)
    outbox.send_test(webhook)
    slow = webhooks_delivery._claim()
    assert slow
    clock.forward(seconds=61)
    webhooks_delivery.deliver_due()
    receiver.status = 500
    webhooks_delivery._deliver(slow)

    assert last_delivery(webhook).status == "delivered"
    assert statuses(webhook) == [204]


def test_a_resent_message_has_the_same_id(alice: User, receiver: Receiver, clock: Clock) -> None:
    webhook, secret = create_webhook(alice, receiver)
    with run_on_commit():
        delivery = outbox.send_test(webhook)
    delivery = WebhookDelivery.objects.get(pk=delivery.pk)
    with run_on_commit():
        outbox.resend(delivery)
    assert len(receiver.verified(secret)) == 2
    assert len(set(receiver.ids)) == 1
    assert statuses(webhook) == [204, 204]
    endpoints.set_enabled(webhook, enabled=False)
    with pytest.raises(StateConflict, match="disabled"):
        outbox.resend(WebhookDelivery.objects.get(pk=delivery.pk))


def test_deliveries_are_pruned_after_their_retention(
    alice: User, receiver: Receiver, settings, clock: Clock
) -> None:
    settings.WEBHOOK_LOG_DAYS = 14
    webhook, _ = create_webhook(alice, receiver)
    with run_on_commit():
        outbox.send_test(webhook)
    clock.forward(days=13)
    housekeeping.prune()
    assert WebhookDelivery.objects.exists()
    clock.forward(days=2)
    housekeeping.prune()
    assert not WebhookDelivery.objects.exists()


def test_pending_messages_limit_manual_sending(alice: User, receiver: Receiver) -> None:
    webhook, _ = create_webhook(alice, receiver)
    for _ in range(20):
        outbox.send_test(webhook)
    with pytest.raises(StateConflict, match="Too many pending"):
        outbox.send_test(webhook)
