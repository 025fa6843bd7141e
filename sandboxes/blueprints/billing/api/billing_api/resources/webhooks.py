"""Webhook endpoints, and the attempts to deliver events to them.

The sandbox reaches no network: the portal reads events and endpoints, delivers them with
signatures of Standard Webhooks, and records its attempts here.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from ..web import Call, Operation, invalid
from .crud import read_operations
from .events import EVENT_TYPES, EVENTS, EventId
from .models import ID_PATTERN, MetadataChanges, MetadataFilter, MetadataInput, Text, Timestamp
from .table import MomentFilter, PageQuery, Table, provided_fields

EndpointStatus = Literal["enabled", "disabled"]
DeliveryStatus = Literal["succeeded", "failed"]
EndpointId = Annotated[str, Meta(max_length=50, pattern=ID_PATTERN, examples=["whe_001"])]
Url = Annotated[
    str,
    Meta(
        max_length=500,
        pattern=r"^https?://[!-~]+\Z",
        examples=["https://example.com/webhooks"],
    ),
]
Secret = Annotated[
    str,
    Meta(pattern=r"^whsec_[A-Za-z0-9+/]{32,88}={0,2}\Z", description="`whsec_` and base64"),
]
EventPattern = Annotated[
    str,
    Meta(pattern=r"^(\*|[a-z_]+\.(\*|[a-z_]+))\Z", examples=["invoice.*"]),
]
EventPatterns = Annotated[
    list[EventPattern],
    Meta(
        min_length=1,
        max_length=50,
        description="Types of events to deliver: `*`, `invoice.*` or `invoice.paid`",
        examples=[["invoice.*"]],
    ),
]
Body = Annotated[str, Meta(max_length=4000)]
SUCCESS = range(200, 300)
ROTATE = """
    UPDATE webhook_endpoints SET secret = %(secret)s,
        previous_secret = CASE WHEN %(hours)s > 0 THEN secret END,
        previous_secret_until = CASE WHEN %(hours)s > 0
            THEN now() + %(hours)s * interval '1 hour' END
    WHERE id = %(id)s
"""


class WebhookEndpoint(Struct):
    """A URL that receives events, signed with its secret (Standard Webhooks).

    After a rotation, messages are also signed with the previous secret, until a time of the real
    clock.
    """

    id: str
    url: str
    description: str
    event_types: list[str]
    secret: str
    status: EndpointStatus
    previous_secret: str | None
    previous_secret_until: Timestamp | None
    metadata: dict[str, str]
    created_at: Timestamp
    updated_at: Timestamp


class WebhookDelivery(Struct):
    """One attempt to deliver an event to a webhook endpoint."""

    id: str
    endpoint_id: str
    event_id: str
    attempt: int
    status: DeliveryStatus
    response_status: int | None
    response_body: str
    error: str
    duration_ms: int
    next_attempt_at: Timestamp | None
    created_at: Timestamp


class NewWebhookEndpoint(Struct, forbid_unknown_fields=True):
    """A new webhook endpoint, for all events by default. Without a secret, it gets one."""

    url: Url
    description: Text = ""
    event_types: EventPatterns | UnsetType = UNSET
    secret: Secret | None = None
    status: EndpointStatus = "enabled"
    metadata: MetadataInput = {}


class WebhookEndpointChanges(Struct, forbid_unknown_fields=True):
    """Changes to a webhook endpoint. A disabled endpoint receives nothing."""

    url: Url | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    event_types: EventPatterns | UnsetType = UNSET
    secret: Secret | UnsetType = UNSET
    status: EndpointStatus | UnsetType = UNSET
    metadata: MetadataChanges | UnsetType = UNSET


class SecretRotation(Struct, forbid_unknown_fields=True):
    """How long the previous secret signs as well: by default for a day, at once with 0."""

    secret: Secret | None = None
    keep_hours: Annotated[int, Meta(ge=0, le=168)] = 24


class NewWebhookDelivery(Struct, forbid_unknown_fields=True):
    """An attempt to record. Without a response, `error` says why."""

    endpoint_id: EndpointId
    event_id: EventId
    attempt: Annotated[int, Meta(ge=1, le=1000)] = 1
    response_status: Annotated[int, Meta(ge=100, le=599)] | None = None
    response_body: Body = ""
    error: Text = ""
    duration_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 0
    next_attempt_at: Timestamp | None = None


class WebhookEndpointQuery(PageQuery, kw_only=True):
    """Filters of the list of webhook endpoints."""

    status: EndpointStatus | UnsetType = UNSET
    metadata: MetadataFilter | UnsetType = UNSET


class WebhookDeliveryQuery(PageQuery, kw_only=True):
    """Filters of the list of deliveries."""

    endpoint_id: EndpointId | UnsetType = UNSET
    event_id: EventId | UnsetType = UNSET
    status: DeliveryStatus | UnsetType = UNSET
    created_after: MomentFilter | UnsetType = UNSET
    created_before: MomentFilter | UnsetType = UNSET


WEBHOOK_ENDPOINTS = Table("webhook_endpoints", "webhook endpoint", WebhookEndpoint)
WEBHOOK_DELIVERIES = Table("webhook_deliveries", "webhook delivery", WebhookDelivery)


def create_endpoint(call: Call) -> WebhookEndpoint:
    """Create a webhook endpoint. The response has its secret."""
    body: NewWebhookEndpoint = call.body
    values = provided_fields(body)
    _check_patterns(values.get("event_types", []))
    secret = values.pop("secret")
    endpoint = WEBHOOK_ENDPOINTS.insert(call.cursor, **values)
    return WEBHOOK_ENDPOINTS.update(
        call.cursor, endpoint.id, secret=secret or _secret(call.key, endpoint.id)
    )


def update_endpoint(call: Call) -> WebhookEndpoint:
    """Change, disable or enable a webhook endpoint."""
    changes = provided_fields(call.body)
    _check_patterns(changes.get("event_types", []))
    WEBHOOK_ENDPOINTS.get(call.cursor, call.id, lock=True)
    return WEBHOOK_ENDPOINTS.update(call.cursor, call.id, **changes)


def rotate_secret(call: Call) -> WebhookEndpoint:
    """Replace the secret, so that receivers can change to the new one without missing a message.

    Until `previous_secret_until`, messages have signatures of both.
    """
    body: SecretRotation = call.body
    endpoint = WEBHOOK_ENDPOINTS.get(call.cursor, call.id, lock=True)
    secret = body.secret or _secret(call.key, f"{endpoint.id} after {endpoint.secret}")
    if secret == endpoint.secret:
        raise invalid("secret", "must be another one")
    call.cursor.execute(ROTATE, {"id": endpoint.id, "secret": secret, "hours": body.keep_hours})
    return WEBHOOK_ENDPOINTS.get(call.cursor, endpoint.id)


def delete_endpoint(call: Call) -> WebhookEndpoint:
    """Delete a webhook endpoint with its deliveries, and return it."""
    endpoint = WEBHOOK_ENDPOINTS.get(call.cursor, call.id, lock=True)
    call.cursor.execute("DELETE FROM webhook_endpoints WHERE id = %s", (call.id,))
    return endpoint


def record_delivery(call: Call) -> WebhookDelivery:
    """Record an attempt to deliver an event. It succeeded if the response status is 2xx."""
    body: NewWebhookDelivery = call.body
    WEBHOOK_ENDPOINTS.get_referenced(call.cursor, "endpoint_id", body.endpoint_id)
    EVENTS.get_referenced(call.cursor, "event_id", body.event_id)
    succeeded = body.response_status in SUCCESS
    values = provided_fields(body)
    values["response_body"] = body.response_body.replace("\0", "")
    return WEBHOOK_DELIVERIES.insert(
        call.cursor, status="succeeded" if succeeded else "failed", **values
    )


def _secret(key: bytes, endpoint_id: str) -> str:
    """Return a secret that only this sandbox has, and that is the same after a reset."""
    digest = hmac.digest(key, f"webhook-endpoint:{endpoint_id}".encode(), "sha256")
    return f"whsec_{b64encode(digest).decode()}"


def _check_patterns(patterns: list[str]) -> None:
    """Raise a 422 problem if a pattern matches no type of event."""
    for pattern in patterns:
        prefix = pattern.removesuffix("*")
        matches = (
            any(name.startswith(prefix) for name in EVENT_TYPES)
            if pattern.endswith("*")
            else pattern in EVENT_TYPES
        )
        if not matches:
            raise invalid("event_types", f"no event has a type {pattern!r}")


ENDPOINTS = "/v1/webhook_endpoints"
ENDPOINT = f"{ENDPOINTS}/{{id}}"
OPERATIONS = [
    *read_operations(WEBHOOK_ENDPOINTS, WebhookEndpointQuery),
    Operation(
        "createWebhookEndpoint",
        "POST",
        ENDPOINTS,
        "Create a webhook endpoint",
        create_endpoint,
        WebhookEndpoint,
        NewWebhookEndpoint,
        status=201,
    ),
    Operation(
        "updateWebhookEndpoint",
        "PATCH",
        ENDPOINT,
        "Change a webhook endpoint",
        update_endpoint,
        WebhookEndpoint,
        WebhookEndpointChanges,
    ),
    Operation(
        "rotateWebhookSecret",
        "POST",
        f"{ENDPOINT}/rotate",
        "Rotate a secret",
        rotate_secret,
        WebhookEndpoint,
        SecretRotation,
        body_required=False,
    ),
    Operation(
        "deleteWebhookEndpoint",
        "DELETE",
        ENDPOINT,
        "Delete a webhook endpoint",
        delete_endpoint,
        WebhookEndpoint,
    ),
    *read_operations(WEBHOOK_DELIVERIES, WebhookDeliveryQuery),
    Operation(
        "recordWebhookDelivery",
        "POST",
        "/v1/webhook_deliveries",
        "Record a delivery",
        record_delivery,
        WebhookDelivery,
        NewWebhookDelivery,
        status=201,
    ),
]
