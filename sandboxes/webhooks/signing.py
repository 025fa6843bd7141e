"""Secrets and signatures of webhooks according to Standard Webhooks."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime, timedelta

from standardwebhooks import Webhook as Signer

from sandboxes.models import Webhook, WebhookDelivery

PREFIX = "whsec_"
SECRET_BYTES = 32
"""The specification requires 24 to 64 bytes."""
PREVIOUS_SECRET_RETENTION = timedelta(hours=24)
"""How long the previous secret signs as well after a rotation."""


def new_secret() -> str:
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(webhook: Webhook, delivery: WebhookDelivery, now: datetime) -> dict[str, str]:
    """Return headers that authenticate, date and identify the message."""
    return signed_headers(delivery.message_id, delivery.body, now, _active_secrets(webhook, now))


def signed_headers(
    message_id: str, body: str, now: datetime, secrets_in_use: Iterable[str]
) -> dict[str, str]:
    """Return headers that authenticate, date and identify a message, one signature a secret."""
    return {
        "content-type": "application/json",
        "user-agent": "sandbox-portal-webhooks/1",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(
            Signer(secret).sign(message_id, now, body) for secret in secrets_in_use
        ),
    }


def _active_secrets(webhook: Webhook, now: datetime) -> list[str]:
    secrets_by_name = webhook.secrets
    has_previous = webhook.previous_until is not None and webhook.previous_until > now
    names = ("current", "previous") if has_previous else ("current",)
    return [secrets_by_name[name] for name in names]
