"""Secrets and signatures of webhooks, as the Standard Webhooks specification has them."""

from __future__ import annotations

import secrets
from base64 import b64encode
from datetime import datetime, timedelta

from standardwebhooks import Webhook as Signer

from sandboxes.models import Webhook, WebhookDelivery

PREFIX = "whsec_"
SECRET_BYTES = 32
"""The specification wants 24 to 64."""
PREVIOUS_SECRET_RETENTION = timedelta(hours=24)
"""So long the old secret signs too after a rotation."""


def new_secret() -> str:
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(webhook: Webhook, delivery: WebhookDelivery, now: datetime) -> dict[str, str]:
    """What tells the receiver that this is ours, new, and which message it is."""
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
    kept = webhook.secrets
    both = webhook.previous_until is not None and webhook.previous_until > now
    return [kept["current"], kept["previous"]] if both else [kept["current"]]
