"""Published events: types, content and subscriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import IntegrityError, transaction

from sandboxes import actions
from sandboxes.models import EndReason, Event, EventType, WebhookDelivery
from sandboxes.representations import serializers
from sandboxes.webhooks import outbox, tasks
from sandboxes.worker import resets
from tests.fakes.webhook_receiver import Receiver, create_webhook
from tests.helpers.scenarios import (
    Killed,
    create_singletons,
    launch,
    reload,
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


def test_lifecycle_events_are_published_in_the_format_of_the_api(
    alice: User, runtime: MemoryRuntime, clock: Clock, receiver: Receiver
) -> None:
    _, secret = create_webhook(alice, receiver)
    with run_on_commit():
        sandbox = launch(alice, ttl_minutes=15, name="checkout")
    clock.forward(minutes=11)
    sweep()
    with run_on_commit():
        actions.extend(sandbox, 15, alice)
        actions.destroy(sandbox, alice)

    messages = receiver.verified(secret)
    assert [message["type"] for message in messages] == [
        "sandbox.running",
        "sandbox.warning",
        "sandbox.extended",
        "sandbox.ended",
    ]
    assert [message["data"]["state"] for message in messages] == [
        "running",
        "running",
        "running",
        "destroyed",
    ]
    assert {message["data"]["id"] for message in messages} == {sandbox.public_id}
    running, _, extended, ended = (message["data"] for message in messages)
    assert running["expires_at"] < extended["expires_at"]
    assert ended["end_reason"] == "user"
    assert len(set(receiver.ids)) == 4


def test_a_failure_is_published_as_failed(
    alice: User, runtime: MemoryRuntime, receiver: Receiver
) -> None:
    _, secret = create_webhook(alice, receiver, EventType.FAILED)
    runtime.fail_startup("api", 1, "Traceback: it broke.")
    with run_on_commit():
        launch(alice)
    sweep()

    (message,) = receiver.verified(secret)
    assert (message["type"], message["data"]["state"]) == ("sandbox.failed", "failed")
    assert message["data"]["failure"]["service"] == "api"


def test_messages_contain_no_secrets(
    alice: User, runtime: MemoryRuntime, receiver: Receiver
) -> None:
    create_webhook(alice, receiver)
    with run_on_commit():
        sandbox = launch(alice)
        secrets = list(reload(sandbox).secrets.values())
        actions.destroy(sandbox, alice)

    assert secrets and receiver.messages
    for _, body in receiver.messages:
        assert not [value for value in secrets if value.encode() in body]


def test_only_subscribed_events_of_own_sandboxes_are_published(
    alice: User, bob: User, runtime: MemoryRuntime, receiver: Receiver
) -> None:
    _, secret = create_webhook(alice, receiver, EventType.ENDED)
    with run_on_commit():
        mine, others = launch(alice), launch(bob)
        actions.destroy(mine, alice)
        actions.destroy(others, bob)

    assert receiver.types(secret) == ["sandbox.ended"]


def test_rolled_back_changes_are_not_published(
    alice: User, runtime: MemoryRuntime, receiver: Receiver
) -> None:
    create_webhook(alice, receiver)
    sandbox = launch(alice)
    WebhookDelivery.objects.all().delete()

    def extend_and_die() -> None:
        with transaction.atomic():
            actions.extend(sandbox, 15, alice)
            raise Killed

    with run_on_commit(), pytest.raises(Killed):
        extend_and_die()

    assert not WebhookDelivery.objects.exists()
    assert receiver.messages == []


def test_a_failure_to_publish_does_not_affect_the_sandbox(
    alice: User, runtime: MemoryRuntime, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise IntegrityError

    monkeypatch.setattr(outbox, "enqueue_event", fail)
    create_webhook(alice, receiver)
    sandbox = launch(alice)
    actions.destroy(sandbox, alice)

    assert reload(sandbox).end_reason == EndReason.USER


def test_a_reset_is_not_published(alice: User, runtime: MemoryRuntime, receiver: Receiver) -> None:
    sandbox = launch(alice)
    create_webhook(alice, receiver)
    actions.reset(sandbox, alice)
    resets.reset(reload(sandbox))
    assert Event.objects.filter(kind="reset").exists()
    assert not WebhookDelivery.objects.exists()


def test_nothing_is_delivered_to_suspended_users(
    alice: User, runtime: MemoryRuntime, receiver: Receiver
) -> None:
    webhook, _ = create_webhook(alice, receiver)
    sandbox = launch(alice)
    alice.is_active = False
    alice.save()
    with run_on_commit():
        actions.destroy(sandbox, alice)
    sweep()
    assert receiver.messages == []
    assert webhook.deliveries.count() == 1, "pending messages stay for when the user is reactivated"


def test_an_event_renders_no_message_in_the_transaction_of_the_launch(
    alice: User, runtime: MemoryRuntime, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_webhook(alice, receiver)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("rendered too early")

    with monkeypatch.context() as patch:
        patch.setattr(serializers, "sandbox", fail)
        launch(alice)
    delivery = WebhookDelivery.objects.get()

    assert (delivery.body, delivery.facts["state"]) == ("", "running")
    assert "secrets" not in delivery.facts


def test_a_message_tells_the_state_at_the_time_of_the_event(
    alice: User, runtime: MemoryRuntime, receiver: Receiver
) -> None:
    _, secret = create_webhook(alice, receiver, EventType.RUNNING)
    sandbox = launch(alice)
    with run_on_commit():
        actions.destroy(sandbox, alice)
        tasks.schedule_delivery()

    (message,) = receiver.verified(secret)
    assert message["data"]["state"] == "running"


def test_retries_send_the_same_bytes(
    alice: User, runtime: MemoryRuntime, clock: Clock, receiver: Receiver
) -> None:
    create_webhook(alice, receiver, EventType.RUNNING)
    receiver.status = 500
    with run_on_commit():
        sandbox = launch(alice)
    actions.touch(sandbox, alice)
    receiver.status = 204
    clock.forward(hours=1)
    with run_on_commit():
        tasks.schedule_delivery()

    first, second = (body for _, body in receiver.messages)
    assert first == second
    delivery = WebhookDelivery.objects.get()
    assert (delivery.body.encode(), delivery.facts) == (second, None)
