"""What goes into the API of webhooks and what comes out of it. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema

from sandboxes.api.request_schemas import RequestBody
from sandboxes.models import DeliveryStatus, EventType
from sandboxes.representations.schemas import Sandbox


class NewWebhook(RequestBody):
    url: str = Field(
        description="A public address that answers a POST with 2xx within 15 seconds.",
        examples=["https://example.com/hooks/sandboxes"],
    )
    events: list[str] | None = Field(default=None, description="All of them when left out.")
    name: str = Field(default="", description="At most 60 characters.")


class WebhookChanges(RequestBody):
    """What is left out stays as it is."""

    url: str | None = None
    events: list[str] | None = None
    name: str | None = None
    enabled: bool | None = Field(default=None, description="False gives up what still waits.")


class Webhook(Schema):
    id: str = Field(examples=["whk_0123456789abcdef"])
    name: str
    url: str
    events: list[EventType]
    enabled: bool
    status: Literal["on", "failing", "off"]
    off_because: Literal["owner", "operator", "failing", "gone"] | None
    failing_since: datetime | None
    created_at: datetime
    previous_secret_until: datetime | None = Field(
        description="After a rotation: so long the old secret signs, too."
    )


class WebhookWithSecret(Webhook):
    secret: str = Field(description="Shown this once.", examples=["whsec_…"])


class WebhookList(Schema):
    data: list[Webhook]


class DeliveryAttempt(Schema):
    at: datetime
    status: int | None = Field(description="Null when there was no answer.")
    seconds: float
    error: str
    response: str = Field(description="The first 500 characters of the answer.")


class Delivery(Schema):
    id: str = Field(description="The header `webhook-id`.", examples=["msg_0123456789abcdef"])
    type: str
    outcome: DeliveryStatus
    created_at: datetime
    next_try_at: datetime | None
    tries: list[DeliveryAttempt]
    payload: dict[str, Any]


class DeliveryPage(Schema):
    data: list[Delivery]
    has_more: bool
    next_cursor: str | None


class Message(Schema):
    """What is posted to a webhook, signed as Standard Webhooks (https://www.standardwebhooks.com)."""

    type: EventType
    timestamp: datetime = Field(description="When it happened; tries have times of their own.")
    data: Sandbox = Field(description="The sandbox as it was then.")
