"""Manage webhook endpoints; used by pages and API."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from sandboxes.encryption.fields import DecryptionError
from sandboxes.lib import clock, names, support
from sandboxes.lib.exceptions import StateConflict, ValidationFailed
from sandboxes.models import DisabledReason, EventType, Webhook, WebhookDelivery
from sandboxes.models.abstract.batch_delete import delete_batch
from sandboxes.webhooks.delivery import disable
from sandboxes.webhooks.signing import PREVIOUS_SECRET_RETENTION, new_secret
from sandboxes.webhooks.url_policy import check_url

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def create(user: User, url: str, events: Collection[str], name: str = "") -> tuple[Webhook, str]:
    """Create a webhook; return it with its secret, which is shown only once.

    Raises ValidationFailed or StateConflict.
    """
    chosen = _validate(url=url, events=events, name=name)
    secret = new_secret()
    with transaction.atomic():
        # The lock serializes the count; the unique constraint on slots backs it.
        get_user_model().objects.select_for_update().get(pk=user.pk)
        taken = set(user.webhooks.values_list("slot", flat=True))
        free = [slot for slot in range(1, settings.WEBHOOKS_PER_USER + 1) if slot not in taken]
        if not free:
            most = settings.WEBHOOKS_PER_USER
            raise StateConflict(f"You've reached your limit of {most} webhooks. Delete one first.")
        row = Webhook.objects.create(
            user=user, slot=free[0], secrets={"current": secret}, created_at=clock.now(), **chosen
        )
    return row, secret


def _validate(**chosen: Any) -> dict[str, Any]:
    if "url" in chosen:
        chosen["url"] = check_url(chosen["url"])
    if "events" in chosen:
        chosen["events"] = _validate_events(chosen["events"])
    if "name" in chosen:
        try:
            chosen["name"] = names.clean_name(chosen["name"])
        except names.InvalidName as error:
            raise ValidationFailed("name", str(error)) from error
    return chosen


def _validate_events(events: Collection[str]) -> list[str]:
    if not events or not set(events) <= set(EventType.values):
        raise ValidationFailed("events", f"Choose one or more of {', '.join(EventType.values)}.")
    return [kind for kind in EventType.values if kind in events]


def update(webhook: Webhook, **chosen: Any) -> None:
    """Update `url`, `events` or `name`. Raises ValidationFailed."""
    for name, value in (values := _validate(**chosen)).items():
        setattr(webhook, name, value)
    webhook.save(update_fields=list(values))


@transaction.atomic
def set_enabled(webhook: Webhook, *, enabled: bool) -> None:
    """Enable a webhook, or disable it and fail its pending deliveries. Raises StateConflict."""
    if not enabled:
        disable(webhook, DisabledReason.OWNER)
        return
    if webhook.disabled_reason == DisabledReason.OPERATOR:
        raise StateConflict(
            f"An operator disabled this webhook. Contact {support.administrator()}."
        )
    off = Webhook.objects.filter(pk=webhook.pk).exclude(disabled_reason=DisabledReason.OPERATOR)
    off.update(disabled_reason="", failing_since=None)
    webhook.refresh_from_db(fields=["disabled_reason", "failing_since"])


@transaction.atomic
def rotate_secret(webhook: Webhook) -> str:
    """Return a new secret. The old one stays valid for a day, unless it can't be decrypted."""
    secret = new_secret()
    row = Webhook.objects.select_for_update().get(pk=webhook.pk)
    try:
        row.secrets = {"current": secret, "previous": row.secrets["current"]}
        row.previous_until = clock.now() + PREVIOUS_SECRET_RETENTION
    except (DecryptionError, KeyError):
        row.secrets, row.previous_until = {"current": secret}, None
    row.save(update_fields=["secrets", "previous_until"])
    webhook.refresh_from_db(fields=["previous_until"])
    return secret


def delete(webhook: Webhook) -> None:
    """Delete a webhook and its delivery log. A delivery in progress has no effect."""
    webhook.delete()


def prune_deliveries() -> None:
    """Delete a batch of finished deliveries past their retention."""
    oldest = clock.now() - timedelta(days=settings.WEBHOOK_LOG_DAYS)
    old = WebhookDelivery.objects.filter(created_at__lt=oldest, due_at=None)
    delete_batch(old.order_by("created_at"))
