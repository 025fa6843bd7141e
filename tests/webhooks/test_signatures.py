"""Secrets and signatures of webhooks according to Standard Webhooks."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from sandboxes.models import Webhook
from sandboxes.webhooks import delivery, endpoints, outbox
from tests.fakes.webhook_receiver import (
    Receiver,
    create_webhook,
    last_delivery,
    reload_webhook,
)
from tests.helpers.scenarios import create_singletons, run_on_commit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.conftest import Clock

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _swept_before() -> None:
    create_singletons()


def test_the_signature_covers_body_secret_and_time(
    alice: User, clock: Clock, receiver: Receiver
) -> None:
    webhook, secret = create_webhook(alice, receiver)
    with run_on_commit():
        outbox.send_test(webhook)
    headers, body = receiver.messages[0]
    assert Verifier(secret).verify(body, headers)["type"] == "webhook.test"
    for wrong in (body + b" ", body.replace(b"Test", b"TEST")):
        with pytest.raises(WebhookVerificationError):
            Verifier(secret).verify(wrong, headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(create_webhook(alice, receiver)[1]).verify(body, headers)
    clock.forward(minutes=6)
    with pytest.raises(WebhookVerificationError):
        Verifier(secret).verify(body, headers)


def test_a_secret_has_the_specified_format_and_is_stored_encrypted(
    alice: User, receiver: Receiver
) -> None:
    webhook, secret = create_webhook(alice, receiver)
    assert secret.startswith("whsec_")
    assert 24 <= len(b64decode(secret.removeprefix("whsec_"))) <= 64
    stored = Webhook.objects.extra(select={"raw": "secrets"}).values_list("raw", flat=True).get()
    assert secret not in stored and stored.startswith("gAAAA")
    assert reload_webhook(webhook).secrets == {"current": secret}


def test_both_secrets_sign_for_a_day_after_a_rotation(
    alice: User, clock: Clock, receiver: Receiver
) -> None:
    webhook, old = create_webhook(alice, receiver)
    new = endpoints.rotate_secret(webhook)
    with run_on_commit():
        outbox.send_test(reload_webhook(webhook))
    assert receiver.types(old) == receiver.types(new) == ["webhook.test"]

    clock.forward(hours=24)
    receiver.messages.clear()
    with run_on_commit():
        outbox.send_test(reload_webhook(webhook))
    assert receiver.types(new) == ["webhook.test"]
    with pytest.raises(WebhookVerificationError):
        receiver.verified(old)


def test_a_webhook_with_a_lost_secret_does_not_affect_others(
    alice: User, bob: User, receiver: Receiver, clock: Clock
) -> None:
    broken, _ = create_webhook(alice, receiver)
    whole, secret = create_webhook(bob, receiver)
    Webhook.objects.filter(pk=broken.pk).update(secrets={})
    outbox.send_test(broken)
    outbox.send_test(whole)
    delivery.deliver_due()
    assert receiver.types(secret) == ["webhook.test"]
    assert "Internal error" in last_delivery(broken).log[0]["error"]


def test_a_secret_with_lost_encryption_keys_can_be_rotated(
    alice: User, receiver: Receiver, settings
) -> None:
    webhook, _ = create_webhook(alice, receiver)
    settings.SANDBOX_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    secret = endpoints.rotate_secret(reload_webhook(webhook))
    with run_on_commit():
        outbox.send_test(reload_webhook(webhook))
    assert receiver.types(secret) == ["webhook.test"]
