"""Webhooks: signed, at least once with the same id, with growing delays, and no event lost."""

from __future__ import annotations

from base64 import b64decode
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet
from django.core import mail
from django.db import IntegrityError, transaction
from django.utils import timezone
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from sandboxes import actions, housekeeping, lifecycle, upkeep
from sandboxes.errors import Conflict, Invalid
from sandboxes.models import EndReason, Event, EventType, OffReason, Site, Webhook, WebhookDelivery
from sandboxes.webhooks import connecting, delivering, managing, outbox
from tests.acting import Killed, again, committed, launch, sweep
from tests.receivers import Receiver, hook

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.conftest import Clock

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _swept_before() -> None:
    Site.current()


def fresh(webhook: Webhook) -> Webhook:
    return Webhook.objects.get(pk=webhook.pk)


def told(webhook: Webhook) -> WebhookDelivery:
    """The last message for it, and what became of that."""
    last = webhook.deliveries.newest_first().first()
    assert last
    return last


def statuses(webhook: Webhook) -> list[int | None]:
    return [entry["status"] for entry in told(webhook).log]


def test_a_sandboxs_life_is_told_event_by_event_in_the_words_of_the_api(
    alice: User, runtime: MemoryRuntime, clock: Clock, receiver: Receiver
) -> None:
    _, secret = hook(alice, receiver)
    with committed():
        sandbox = launch(alice, ttl_minutes=15, name="checkout")
    clock.forward(minutes=11)
    sweep()
    with committed():
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


def test_a_failure_is_told_as_one(alice: User, runtime: MemoryRuntime, receiver: Receiver) -> None:
    _, secret = hook(alice, receiver, EventType.FAILED)
    runtime.doom("api", 1, "Traceback: it broke.")
    with committed():
        launch(alice)
    sweep()

    (message,) = receiver.verified(secret)
    assert (message["type"], message["data"]["state"]) == ("sandbox.failed", "failed")
    assert message["data"]["failure"]["service"] == "api"


def test_no_message_holds_a_secret(alice: User, runtime: MemoryRuntime, receiver: Receiver) -> None:
    hook(alice, receiver)
    with committed():
        sandbox = launch(alice)
        secrets = list(again(sandbox).secrets.values())
        actions.destroy(sandbox, alice)

    assert secrets and receiver.messages
    for _, body in receiver.messages:
        assert not [value for value in secrets if value.encode() in body]


def test_only_what_was_chosen_is_told_and_only_of_ones_own(
    alice: User, bob: User, runtime: MemoryRuntime, receiver: Receiver
) -> None:
    _, secret = hook(alice, receiver, EventType.ENDED)
    with committed():
        mine, others = launch(alice), launch(bob)
        actions.destroy(mine, alice)
        actions.destroy(others, bob)

    assert receiver.types(secret) == ["sandbox.ended"]


def test_what_is_rolled_back_is_not_told(
    alice: User, runtime: MemoryRuntime, receiver: Receiver
) -> None:
    hook(alice, receiver)
    sandbox = launch(alice)
    WebhookDelivery.objects.all().delete()

    def extend_and_die() -> None:
        with transaction.atomic():
            actions.extend(sandbox, 15, alice)
            raise Killed

    with committed(), pytest.raises(Killed):
        extend_and_die()

    assert not WebhookDelivery.objects.exists()
    assert receiver.messages == []


def test_a_webhook_that_cannot_be_told_of_stops_no_sandbox(
    alice: User, runtime: MemoryRuntime, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: Any) -> None:
        raise IntegrityError

    monkeypatch.setattr(outbox, "put", stumble)
    hook(alice, receiver)
    sandbox = launch(alice)
    actions.destroy(sandbox, alice)

    assert again(sandbox).end_reason == EndReason.USER


def test_the_signature_fits_no_other_body_secret_or_time(
    alice: User, clock: Clock, receiver: Receiver
) -> None:
    webhook, secret = hook(alice, receiver)
    with committed():
        outbox.send_test(webhook)
    headers, body = receiver.messages[0]
    assert Verifier(secret).verify(body, headers)["type"] == "webhook.test"
    for wrong in (body + b" ", body.replace(b"works", b"WORKS")):
        with pytest.raises(WebhookVerificationError):
            Verifier(secret).verify(wrong, headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(hook(alice, receiver)[1]).verify(body, headers)
    clock.forward(minutes=6)
    with pytest.raises(WebhookVerificationError):
        Verifier(secret).verify(body, headers)


def test_a_secret_has_the_form_of_the_specification_and_is_kept_encrypted(
    alice: User, receiver: Receiver
) -> None:
    webhook, secret = hook(alice, receiver)
    assert secret.startswith("whsec_")
    assert 24 <= len(b64decode(secret.removeprefix("whsec_"))) <= 64
    stored = Webhook.objects.extra(select={"raw": "secrets"}).values_list("raw", flat=True).get()
    assert secret not in stored and stored.startswith("gAAAA")
    assert fresh(webhook).secrets == {"current": secret}


def test_after_a_rotation_both_secrets_sign_for_a_day(
    alice: User, clock: Clock, receiver: Receiver
) -> None:
    webhook, old = hook(alice, receiver)
    new = managing.rotate(webhook)
    with committed():
        outbox.send_test(fresh(webhook))
    assert receiver.types(old) == receiver.types(new) == ["webhook.test"]

    clock.forward(hours=24)
    receiver.messages.clear()
    with committed():
        outbox.send_test(fresh(webhook))
    assert receiver.types(new) == ["webhook.test"]
    with pytest.raises(WebhookVerificationError):
        receiver.verified(old)


def test_what_fails_is_tried_again_with_growing_delays_the_same_id_and_then_given_up(
    alice: User, clock: Clock, receiver: Receiver
) -> None:
    webhook, _ = hook(alice, receiver)
    receiver.status = 500
    with committed():
        outbox.send_test(webhook)
    delays = []
    while (due_at := told(webhook).due_at) is not None:
        delays.append(due_at - timezone.now())
        clock.forward(seconds=(due_at - timezone.now()).total_seconds() - 1)
        sweep()
        assert len(receiver.messages) == len(delays), "not before it is due"
        clock.forward(seconds=1)
        sweep()

    wanted = [timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)]
    wanted += [timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)]
    assert [want <= delay <= want * 1.1 for want, delay in zip(wanted, delays, strict=True)]
    assert len(receiver.messages) == 10
    assert len(set(receiver.ids)) == len({body for _, body in receiver.messages}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in receiver.messages}) == 10
    assert told(webhook).outcome == "failed"
    assert statuses(webhook) == [500] * 10


def test_a_receiver_that_says_when_to_come_back_is_left_alone_until_then(
    alice: User, clock: Clock, receiver: Receiver
) -> None:
    webhook, _ = hook(alice, receiver)
    receiver.status, receiver.headers = 429, {"Retry-After": "120"}
    with committed():
        outbox.send_test(webhook)
    due_at = told(webhook).due_at
    assert due_at == timezone.now() + timedelta(seconds=120)


@pytest.mark.parametrize("wish", ["-1", "soon", "9" * 30, "999999", "1e9"])
def test_a_wish_that_makes_no_sense_delays_nothing_for_long(
    alice: User, clock: Clock, receiver: Receiver, wish: str
) -> None:
    webhook, _ = hook(alice, receiver)
    receiver.status, receiver.headers = 503, {"Retry-After": wish}
    with committed():
        outbox.send_test(webhook)
    due_at = told(webhook).due_at
    assert due_at and due_at <= timezone.now() + timedelta(hours=1)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(
    alice: User, receiver: Receiver, clock: Clock, status: int
) -> None:
    webhook, _ = hook(alice, receiver)
    receiver.status, receiver.headers = status, {"Location": receiver.url}
    with committed():
        outbox.send_test(webhook)
    assert len(receiver.messages) == 1
    assert statuses(webhook) == [status]
    assert told(webhook).outcome == "pending"


def test_the_log_says_what_came_of_each_try(alice: User, clock: Clock, receiver: Receiver) -> None:
    webhook, _ = hook(alice, receiver)
    receiver.status, receiver.body = 500, b"<h1>It broke</h1>\0" + b"x" * 100_000
    with committed():
        outbox.send_test(webhook)
    receiver.status, receiver.body = 200, b"ok"
    clock.forward(seconds=10)
    sweep()

    first, second = told(webhook).log
    assert (first["status"], second["status"]) == (500, 200)
    assert first["response"].startswith("<h1>It broke</h1>x") and len(first["response"]) <= 500
    assert second["response"] == "ok"
    assert told(webhook).outcome == "delivered"
    assert fresh(webhook).status == "on"


def test_a_worker_killed_while_it_sends_loses_no_event(
    alice: User,
    runtime: MemoryRuntime,
    clock: Clock,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(*_: Any) -> None:
        connecting.post(*_)
        raise Killed

    webhook, secret = hook(alice, receiver, EventType.RUNNING)
    with monkeypatch.context() as until_then:
        until_then.setattr(delivering, "post", die)
        with pytest.raises(Killed), committed():
            launch(alice)
    sweep()
    assert len(receiver.messages) == 1, "the first may be at it still"
    clock.forward(seconds=61)
    sweep()
    sweep()

    assert receiver.types(secret) == ["sandbox.running"] * 2
    assert len(set(receiver.ids)) == 1
    assert told(webhook).outcome == "delivered"


def test_a_message_to_the_worker_that_was_lost_loses_no_event(
    alice: User, runtime: MemoryRuntime, receiver: Receiver
) -> None:
    _, secret = hook(alice, receiver, EventType.RUNNING)
    launch(alice)
    assert receiver.messages == []
    sweep()
    sweep()

    assert receiver.types(secret) == ["sandbox.running"]


def test_events_of_one_webhook_come_one_after_the_other(
    alice: User, receiver: Receiver, clock: Clock
) -> None:
    webhook, _ = hook(alice, receiver)
    outbox.send_test(webhook)
    assert delivering._claim()
    outbox.send_test(webhook)
    delivering.work_off()
    assert receiver.messages == [], "another worker is sending to it"
    clock.forward(seconds=61)
    delivering.work_off()
    assert len(receiver.messages) == 2


def test_a_slow_worker_whose_lease_ran_out_changes_nothing(
    alice: User, receiver: Receiver, clock: Clock
) -> None:
    webhook, _ = hook(alice, receiver)
    outbox.send_test(webhook)
    slow = delivering._claim()
    assert slow
    clock.forward(seconds=61)
    delivering.work_off()
    receiver.status = 500
    delivering._deliver(slow)

    assert told(webhook).outcome == "delivered"
    assert statuses(webhook) == [204]


def test_a_webhook_that_fails_for_days_is_switched_off_with_a_mail(
    alice: User, runtime: MemoryRuntime, clock: Clock, receiver: Receiver
) -> None:
    webhook, _ = hook(alice, receiver)
    receiver.status = 500
    sandbox = launch(alice)
    sweep()
    assert fresh(webhook).status == "failing"
    clock.forward(days=5, seconds=-5)
    lifecycle.journal(sandbox, "extended", "")
    sweep()
    assert fresh(webhook).status == "failing"
    clock.forward(minutes=10)
    sweep()

    assert fresh(webhook).off_because == OffReason.FAILING
    letters = [letter for letter in mail.outbox if "webhook" in letter.subject]
    assert [letter.subject for letter in letters] == ["The webhook bot was switched off"]
    assert f"/webhooks/{webhook.public_id}/" in letters[0].body
    seen = len(receiver.messages)
    clock.forward(days=2)
    lifecycle.journal(sandbox, "extended", "")
    sweep()
    assert len(receiver.messages) == seen
    assert not WebhookDelivery.objects.filter(outcome="pending").exists()


def test_a_success_in_between_starts_the_days_again(
    alice: User, runtime: MemoryRuntime, clock: Clock, receiver: Receiver
) -> None:
    webhook, _ = hook(alice, receiver, EventType.EXTENDED)
    sandbox = launch(alice)
    for status in (500, 204, 500):
        receiver.status = status
        lifecycle.journal(sandbox, "extended", "")
        sweep()
        clock.forward(days=3)
    assert fresh(webhook).is_on


def test_an_answer_of_gone_switches_it_off_at_once(
    alice: User, receiver: Receiver, clock: Clock
) -> None:
    webhook, _ = hook(alice, receiver)
    receiver.status = 410
    with committed():
        outbox.send_test(webhook)
    assert fresh(webhook).off_because == OffReason.GONE
    assert len(mail.outbox) == 1


def test_what_happens_while_it_is_off_is_not_told_later(
    alice: User, runtime: MemoryRuntime, receiver: Receiver
) -> None:
    webhook, secret = hook(alice, receiver)
    outbox.send_test(webhook)
    managing.switch(webhook, on=False)
    with committed():
        sandbox = launch(alice)
    managing.switch(webhook, on=True)
    with committed():
        actions.extend(sandbox, 15, alice)
    assert receiver.types(secret) == ["sandbox.extended"]
    assert mail.outbox == [], "who switches it off knows"


def test_a_message_is_sent_again_by_hand_with_the_same_id(
    alice: User, receiver: Receiver, clock: Clock
) -> None:
    webhook, secret = hook(alice, receiver)
    with committed():
        delivery = outbox.send_test(webhook)
    delivery = WebhookDelivery.objects.get(pk=delivery.pk)
    with committed():
        outbox.send_again(delivery)
    assert len(receiver.verified(secret)) == 2
    assert len(set(receiver.ids)) == 1
    assert statuses(webhook) == [204, 204]
    managing.switch(webhook, on=False)
    with pytest.raises(Conflict, match="switched off"):
        outbox.send_again(WebhookDelivery.objects.get(pk=delivery.pk))


def test_a_user_has_so_many_webhooks_and_no_more(
    alice: User, bob: User, receiver: Receiver, settings
) -> None:
    settings.WEBHOOKS_PER_USER = 2
    first, _ = hook(alice, receiver)
    hook(alice, receiver)
    with pytest.raises(Conflict, match="2 of 2"):
        hook(alice, receiver)
    hook(bob, receiver)
    managing.remove(first)
    hook(alice, receiver)
    with pytest.raises(IntegrityError), transaction.atomic():
        Webhook.objects.create(user=alice, slot=1, url=receiver.url)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"events": []}, "events"),
        ({"events": ["sandbox.sold"]}, "events"),
        ({"name": "x" * 61}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"url": ""}, "url"),
    ],
)
def test_a_mistake_names_its_field_and_makes_nothing(
    alice: User, receiver: Receiver, wrong: dict[str, Any], field: str
) -> None:
    right = {"url": receiver.url, "events": EventType.values, "name": "bot"}
    with pytest.raises(Invalid) as refused:
        managing.create(alice, **right | wrong)
    assert refused.value.field == field
    assert not Webhook.objects.exists()


def test_deliveries_are_forgotten_after_some_days(
    alice: User, receiver: Receiver, settings, clock: Clock
) -> None:
    settings.WEBHOOK_LOG_DAYS = 14
    webhook, _ = hook(alice, receiver)
    with committed():
        outbox.send_test(webhook)
    clock.forward(days=13)
    housekeeping.prune()
    assert WebhookDelivery.objects.exists()
    clock.forward(days=2)
    housekeeping.prune()
    assert not WebhookDelivery.objects.exists()


def test_a_webhook_whose_secret_is_lost_fails_alone(
    alice: User, bob: User, receiver: Receiver, clock: Clock
) -> None:
    broken, _ = hook(alice, receiver)
    whole, secret = hook(bob, receiver)
    Webhook.objects.filter(pk=broken.pk).update(secrets={})
    outbox.send_test(broken)
    outbox.send_test(whole)
    delivering.work_off()
    assert receiver.types(secret) == ["webhook.test"]
    assert "stumbled" in told(broken).log[0]["error"]


def test_a_reset_is_no_event(alice: User, runtime: MemoryRuntime, receiver: Receiver) -> None:
    sandbox = launch(alice)
    hook(alice, receiver)
    actions.reset(sandbox, alice)
    upkeep.reset(again(sandbox))
    assert Event.objects.filter(kind="reset").exists()
    assert not WebhookDelivery.objects.exists()


def test_a_secret_whose_keys_are_lost_is_replaced(
    alice: User, receiver: Receiver, settings
) -> None:
    webhook, _ = hook(alice, receiver)
    settings.SANDBOX_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    secret = managing.rotate(fresh(webhook))
    with committed():
        outbox.send_test(fresh(webhook))
    assert receiver.types(secret) == ["webhook.test"]


def test_somebody_who_was_suspended_is_told_nothing(
    alice: User, runtime: MemoryRuntime, receiver: Receiver
) -> None:
    webhook, _ = hook(alice, receiver)
    sandbox = launch(alice)
    alice.is_active = False
    alice.save()
    with committed():
        actions.destroy(sandbox, alice)
    sweep()
    assert receiver.messages == []
    assert webhook.deliveries.count() == 1, "what waits may go on when they are back"


def test_nobody_is_flooded_by_hand(alice: User, receiver: Receiver) -> None:
    webhook, _ = hook(alice, receiver)
    for _ in range(20):
        outbox.send_test(webhook)
    with pytest.raises(Conflict, match="still waiting"):
        outbox.send_test(webhook)


def test_what_an_operator_switched_off_stays_off(alice: User, receiver: Receiver) -> None:
    webhook, _ = hook(alice, receiver)
    delivering.switch_off(webhook, OffReason.OPERATOR)
    with pytest.raises(Conflict, match="An operator"):
        managing.switch(fresh(webhook), on=True)
    managing.switch(fresh(webhook), on=False)
    assert fresh(webhook).off_because == OffReason.OPERATOR
