"""Request and response bodies of operations on events of sandboxes. Times are in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Field, Schema
from pydantic import ConfigDict

from sandboxes.api.request_schemas import RequestBody
from sandboxes.api.webhooks.endpoint_schemas import DeliveryAttempt
from sandboxes.models import DeliveryStatus


class InboxAttempt(DeliveryAttempt):
    headers: dict[str, str] = Field(description="The headers that were sent.")
    on_purpose: str = Field(description="What was wrong on purpose; empty if nothing was.")


class InboxDelivery(Schema):
    endpoint_id: str = Field(examples=["whe_001"])
    url: str
    outcome: DeliveryStatus
    next_try_at: datetime | None
    tries: list[InboxAttempt]


class InboxEvent(Schema):
    id: str = Field(description="The `webhook-id` header.", examples=["msg_0123456789abcdef"])
    event_id: str = Field(
        description="The id in the sandbox; it repeats after a reset.", examples=["evt_000000042"]
    )
    type: str
    received_at: datetime
    payload: dict[str, Any]
    body: str = Field(description="The payload as it is signed, byte for byte.")
    deliveries: list[InboxDelivery]


class InboxPage(Schema):
    data: list[InboxEvent]
    has_more: bool
    cursor: str = Field(description="Send it as `after` to get the events that follow.")


class NewEvent(RequestBody):
    type: str = Field(examples=["order.paid"])
    object_id: str = Field(description="The object that the event is about.", examples=["ord_001"])


class CreatedEvent(Schema):
    event_id: str = Field(examples=["evt_000000042"])


class Replayed(Schema):
    deliveries: int = Field(description="Number of endpoints to which the event is sent again.")


class Misbehavior(Schema):
    """What goes wrong on purpose, in percent of the deliveries; the delay applies to all."""

    duplicates: int
    disorder: int
    wrong_signatures: int
    delay_seconds: int


class EventEndpoint(Schema):
    id: str = Field(examples=["whe_001"])
    url: str
    event_types: list[str]
    misbehavior: Misbehavior


class EventEndpointList(Schema):
    data: list[EventEndpoint]


class MisbehaviorChanges(RequestBody):
    """Omitted fields stay unchanged."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"duplicates": 20}]})

    duplicates: int | None = Field(default=None, ge=0, le=100)
    disorder: int | None = Field(default=None, ge=0, le=100)
    wrong_signatures: int | None = Field(default=None, ge=0, le=100)
    delay_seconds: int | None = Field(default=None, ge=0, le=300)


class ClockStep(Schema):
    at: datetime
    action: str
    object_id: str


class SandboxClock(Schema):
    now: datetime
    frozen: bool
    next: list[ClockStep] = Field(description="What is due next, at most 20 steps.")


class ClockChanges(RequestBody):
    """Where to move the clock, and whether it then stands still or runs."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"advance_by": "P1M"}]})

    advance_to: datetime | None = None
    advance_by: str | None = Field(
        default=None, description="An ISO 8601 duration.", examples=["P1M"]
    )
    freeze: bool | None = None
    resume: bool | None = None
