"""Webhook endpoints: limits, validation and disabling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core import mail
from django.db import IntegrityError, transaction

from sandboxes import actions
from sandboxes.core import journal
from sandboxes.lib.exceptions import StateConflict, ValidationFailed
from sandboxes.models import DisabledReason, EventType, Webhook, WebhookDelivery
from sandboxes.webhooks import delivery, endpoints, outbox
from tests.fakes.webhook_receiver import Receiver, create_webhook, reload_webhook
from tests.helpers.scenarios import create_singletons, launch, run_on_commit, sweep

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.conftest import Clock

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _swept_before() -> None:
    create_singletons()


def test_a_webhook_that_fails_for_days_is_disabled_with_an_email(
    alice: User, runtime: MemoryRuntime, clock: Clock, receiver: Receiver
) -> None:
    webhook, _ = create_webhook(alice, receiver)
    receiver.status = 500
    sandbox = launch(alice)
    sweep()
    assert reload_webhook(webhook).status == "failing"
    clock.forward(days=5, seconds=-5)
    journal.record(sandbox, "extended", "")
    sweep()
    assert reload_webhook(webhook).status == "failing"
    clock.forward(minutes=10)
    sweep()

    assert reload_webhook(webhook).disabled_reason == DisabledReason.FAILING
    letters = [letter for letter in mail.outbox if "Webhook" in letter.subject]
    assert [letter.subject for letter in letters] == ["Webhook bot was disabled"]
    assert f"/webhooks/{webhook.public_id}/" in letters[0].body
    received = len(receiver.messages)
    clock.forward(days=2)
    journal.record(sandbox, "extended", "")
    sweep()
    assert len(receiver.messages) == received
    assert not WebhookDelivery.objects.filter(status="pending").exists()


def test_a_success_resets_the_failure_period(
    alice: User, runtime: MemoryRuntime, clock: Clock, receiver: Receiver
) -> None:
    webhook, _ = create_webhook(alice, receiver, EventType.EXTENDED)
    sandbox = launch(alice)
    for status in (500, 204, 500):
        receiver.status = status
        journal.record(sandbox, "extended", "")
        sweep()
        clock.forward(days=3)
    assert reload_webhook(webhook).is_enabled


def test_a_410_disables_the_webhook_at_once(alice: User, receiver: Receiver, clock: Clock) -> None:
    webhook, _ = create_webhook(alice, receiver)
    receiver.status = 410
    with run_on_commit():
        outbox.send_test(webhook)
    assert reload_webhook(webhook).disabled_reason == DisabledReason.GONE
    assert len(mail.outbox) == 1


def test_events_while_disabled_are_not_delivered_later(
    alice: User, runtime: MemoryRuntime, receiver: Receiver
) -> None:
    webhook, secret = create_webhook(alice, receiver)
    outbox.send_test(webhook)
    endpoints.set_enabled(webhook, enabled=False)
    with run_on_commit():
        sandbox = launch(alice)
    endpoints.set_enabled(webhook, enabled=True)
    with run_on_commit():
        actions.extend(sandbox, 15, alice)
    assert receiver.types(secret) == ["sandbox.extended"]
    assert mail.outbox == [], "no email to the user who disabled it"


def test_the_number_of_webhooks_per_user_is_limited(
    alice: User, bob: User, receiver: Receiver, settings
) -> None:
    settings.WEBHOOKS_PER_USER = 2
    first, _ = create_webhook(alice, receiver)
    create_webhook(alice, receiver)
    with pytest.raises(StateConflict, match="limit of 2"):
        create_webhook(alice, receiver)
    create_webhook(bob, receiver)
    endpoints.delete(first)
    create_webhook(alice, receiver)
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
def test_a_validation_error_contains_its_field_and_creates_nothing(
    alice: User, receiver: Receiver, wrong: dict[str, Any], field: str
) -> None:
    right = {"url": receiver.url, "events": EventType.values, "name": "bot"}
    with pytest.raises(ValidationFailed) as refused:
        endpoints.create(alice, **right | wrong)
    assert refused.value.field == field
    assert not Webhook.objects.exists()


def test_a_webhook_disabled_by_an_operator_stays_disabled(alice: User, receiver: Receiver) -> None:
    webhook, _ = create_webhook(alice, receiver)
    delivery.disable(webhook, DisabledReason.OPERATOR)
    with pytest.raises(StateConflict, match="An operator"):
        endpoints.set_enabled(reload_webhook(webhook), enabled=True)
    endpoints.set_enabled(reload_webhook(webhook), enabled=False)
    assert reload_webhook(webhook).disabled_reason == DisabledReason.OPERATOR
