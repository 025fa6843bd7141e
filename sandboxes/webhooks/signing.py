"""Secrets and signatures of webhooks according to Standard Webhooks."""

from __future__ import annotations

import secrets
from base64 import b64encode
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
    return {
        "content-type": "application/json",
        "user-agent": "sandbox-portal-webhooks/1",
        "webhook-id": delivery.message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(
            Signer(secret).sign(delivery.message_id, now, delivery.body)
            for secret in _active_secrets(webhook, now)
        ),
    }


def _active_secrets(webhook: Webhook, now: datetime) -> list[str]:
    secrets_by_name = webhook.secrets
    has_previous = webhook.previous_until is not None and webhook.previous_until > now
    names = ("current", "previous") if has_previous else ("current",)
    return [secrets_by_name[name] for name in names]
