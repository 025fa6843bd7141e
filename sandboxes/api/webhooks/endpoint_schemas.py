"""Request and response bodies of webhook operations. Times are in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema
from pydantic import ConfigDict

from sandboxes.api.request_schemas import RequestBody
from sandboxes.models import DeliveryStatus, EventType
from sandboxes.representations.schemas import Sandbox


class NewWebhook(RequestBody):
    url: str = Field(
        description="A publicly reachable URL that responds to POST with 2xx within 15 seconds.",
        examples=["https://example.com/hooks/sandboxes"],
    )
    events: list[str] | None = Field(default=None, description="Defaults to all events.")
    # Not `default`: generators of TypeScript clients make such a property a required one.
    name: str = Field(default_factory=str, description="A label of up to 60 characters.")


class WebhookChanges(RequestBody):
    """Omitted fields stay unchanged."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "CI server"}]})

    url: str | None = None
    events: list[str] | None = None
    name: str | None = None
    enabled: bool | None = Field(
        default=None, description="If false, pending deliveries are canceled."
    )


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
        description="After a rotation: until when the previous secret also signs messages."
    )


class WebhookWithSecret(Webhook):
    secret: str = Field(description="Shown only once.", examples=["whsec_…"])


class WebhookList(Schema):
    data: list[Webhook]


class DeliveryAttempt(Schema):
    at: datetime
    status: int | None = Field(description="Null if there was no response.")
    seconds: float
    error: str
    response: str = Field(description="The first 500 characters of the response.")


class Delivery(Schema):
    id: str = Field(description="The `webhook-id` header.", examples=["msg_0123456789abcdef"])
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
    """The body of a message, signed as in Standard Webhooks (https://www.standardwebhooks.com)."""

    type: EventType
    timestamp: datetime = Field(
        description="When the event occurred. Retries have the same timestamp here."
    )
    data: Sandbox = Field(description="The sandbox at the time of the event.")
