"""Manage webhooks, and read or repeat their deliveries."""

from __future__ import annotations

import json
import re
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from ninja.responses import Status

from sandboxes import models
from sandboxes.api.auth import ALL, READ, ApiRequest
from sandboxes.api.openapi import responses
from sandboxes.api.pagination import Cursor, Limit, set_next_link
from sandboxes.api.routing import StrictRouter
from sandboxes.api.webhooks import endpoint_schemas as schemas
from sandboxes.lib.pagination import paginate_newest_first
from sandboxes.webhooks import endpoints, outbox
from sandboxes.webhooks.messages import body_of

router = StrictRouter(tags=["Webhooks"])

PUBLIC_ID = re.compile(r"(whk|msg)_[a-z0-9]{1,16}")
DELIVERIES = "/webhooks/{webhook_id}/deliveries"


def _get_owned_webhook(request: ApiRequest, webhook_id: str) -> models.Webhook:
    """Return the user's webhook with this id.

    Raises Http404 if it doesn't exist or belongs to another user.
    """
    if not PUBLIC_ID.fullmatch(webhook_id):
        raise Http404
    return get_object_or_404(request.auth.webhooks.all(), public_id=webhook_id)


def _deliveries(request: ApiRequest, webhook_id: str) -> QuerySet[models.WebhookDelivery]:
    rows = _get_owned_webhook(request, webhook_id).deliveries.select_related("webhook")
    return rows.defer("webhook__secrets")


def _fields(row: models.Webhook) -> dict[str, Any]:
    return {
        "id": row.public_id,
        "name": row.name,
        "url": row.url,
        "events": row.events,
        "enabled": row.is_enabled,
        "status": row.status,
        "off_because": row.disabled_reason or None,
        "failing_since": row.failing_since,
        "created_at": row.created_at,
        "previous_secret_until": row.previous_until,
    }


def _webhook(row: models.Webhook) -> schemas.Webhook:
    return schemas.Webhook(**_fields(row))


def _with_secret(row: models.Webhook, secret: str) -> schemas.WebhookWithSecret:
    return schemas.WebhookWithSecret(**_fields(row), secret=secret)


def _delivery(row: models.WebhookDelivery) -> schemas.Delivery:
    return schemas.Delivery(
        id=row.message_id,
        type=row.type,
        outcome=models.DeliveryStatus(row.status),
        created_at=row.created_at,
        next_try_at=row.due_at,
        tries=[schemas.DeliveryAttempt(**entry) for entry in row.log],
        payload=json.loads(body_of(row)),
    )


@router.get("/webhooks", auth=READ, response=responses(200, schemas.WebhookList))
def list_webhooks(request: ApiRequest) -> schemas.WebhookList:
    """List your webhooks, oldest first."""
    rows = request.auth.webhooks.order_by("pk")
    return schemas.WebhookList(data=[_webhook(row) for row in rows])


@router.post(
    "/webhooks",
    auth=ALL,
    response=responses(201, schemas.WebhookWithSecret, 400, 409, 413, 422),
)
def create_webhook(
    request: ApiRequest, response: HttpResponse, body: schemas.NewWebhook
) -> Status[schemas.WebhookWithSecret]:
    """Create a webhook. The response contains its secret, which is shown only once."""
    events = models.EventType.values if body.events is None else body.events
    row, secret = endpoints.create(request.auth, body.url, events, body.name)
    path = reverse("api:get_webhook", args=[row.public_id])
    response["Location"] = request.build_absolute_uri(path)
    response["Cache-Control"] = "no-store"
    return Status(201, _with_secret(row, secret))


@router.get("/webhooks/{webhook_id}", auth=READ, response=responses(200, schemas.Webhook, 404))
def get_webhook(request: ApiRequest, webhook_id: str) -> schemas.Webhook:
    """Return a webhook and its status."""
    return _webhook(_get_owned_webhook(request, webhook_id))


@router.patch(
    "/webhooks/{webhook_id}",
    auth=ALL,
    response=responses(200, schemas.Webhook, 400, 404, 409, 413, 422),
)
def change_webhook(
    request: ApiRequest, webhook_id: str, body: schemas.WebhookChanges
) -> schemas.Webhook:
    """Update the given fields of a webhook."""
    row = _get_owned_webhook(request, webhook_id)
    changes = body.model_dump(exclude_none=True)
    enabled = changes.pop("enabled", None)
    if changes:
        endpoints.update(row, **changes)
    if enabled is not None:
        endpoints.set_enabled(row, enabled=enabled)
    return _webhook(row)


@router.delete("/webhooks/{webhook_id}", auth=ALL, response=responses(200, schemas.Webhook, 404))
def delete_webhook(request: ApiRequest, webhook_id: str) -> schemas.Webhook:
    """Delete a webhook and its delivery log, and return it."""
    row = _get_owned_webhook(request, webhook_id)
    deleted = _webhook(row)
    endpoints.delete(row)
    return deleted


@router.post(
    "/webhooks/{webhook_id}/secret",
    auth=ALL,
    response=responses(200, schemas.WebhookWithSecret, 404),
)
def rotate_webhook_secret(
    request: ApiRequest, response: HttpResponse, webhook_id: str
) -> schemas.WebhookWithSecret:
    """Create a new secret. For 24 hours, messages are signed with the previous one, too."""
    row = _get_owned_webhook(request, webhook_id)
    secret = endpoints.rotate_secret(row)
    response["Cache-Control"] = "no-store"
    return _with_secret(row, secret)


@router.post(
    "/webhooks/{webhook_id}/test", auth=ALL, response=responses(202, schemas.Delivery, 404, 409)
)
def test_webhook(request: ApiRequest, webhook_id: str) -> Status[schemas.Delivery]:
    """Send a `webhook.test` event now. The delivery log shows the result."""
    return Status(202, _delivery(outbox.send_test(_get_owned_webhook(request, webhook_id))))


@router.get(DELIVERIES, auth=READ, response=responses(200, schemas.DeliveryPage, 404, 422))
def list_deliveries(
    request: ApiRequest,
    response: HttpResponse,
    webhook_id: str,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> schemas.DeliveryPage:
    """List deliveries and their attempts, newest first. They are deleted after some days."""
    rows = _deliveries(request, webhook_id)
    page, following = paginate_newest_first(rows, "created_at", limit, cursor, "deliveries")
    set_next_link(request, response, following)
    return schemas.DeliveryPage(
        data=[_delivery(row) for row in page],
        has_more=following is not None,
        next_cursor=following,
    )


@router.post(
    DELIVERIES + "/{delivery_id}/redeliver",
    auth=ALL,
    response=responses(202, schemas.Delivery, 404, 409),
)
def redeliver(request: ApiRequest, webhook_id: str, delivery_id: str) -> Status[schemas.Delivery]:
    """Send a message again now, with the same `webhook-id` and body."""
    if not PUBLIC_ID.fullmatch(delivery_id):
        raise Http404
    row = get_object_or_404(_deliveries(request, webhook_id), message_id=delivery_id)
    outbox.resend(row)
    return Status(202, _delivery(row))
