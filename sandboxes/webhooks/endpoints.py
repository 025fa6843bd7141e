"""What a person may do with webhooks. Pages and API both come through here."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from sandboxes.encryption.fields import DecryptionError
from sandboxes.lib import clock
from sandboxes.lib.exceptions import StateConflict, ValidationFailed
from sandboxes.models import DisabledReason, EventType, Webhook, WebhookDelivery
from sandboxes.webhooks.delivery import disable
from sandboxes.webhooks.signing import PREVIOUS_SECRET_RETENTION, new_secret
from sandboxes.webhooks.url_policy import check_url

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_NAME_LENGTH = 60
BATCH_SIZE = 500


def create(user: User, url: str, events: Collection[str], name: str = "") -> tuple[Webhook, str]:
    """A new webhook and its secret, which nobody can read again later.

    Raises ValidationFailed, StateConflict.
    """
    chosen = _validate(url=url, events=events, name=name)
    secret = new_secret()
    with transaction.atomic():
        # Whoever counts is alone; the constraint on slots stands behind it.
        get_user_model().objects.select_for_update().get(pk=user.pk)
        taken = set(user.webhooks.values_list("slot", flat=True))
        free = [slot for slot in range(1, settings.WEBHOOKS_PER_USER + 1) if slot not in taken]
        if not free:
            most = settings.WEBHOOKS_PER_USER
            raise StateConflict(f"You have {len(taken)} of {most} webhooks; delete one first.")
        row = Webhook.objects.create(
            user=user, slot=free[0], secrets={"current": secret}, created_at=clock.now(), **chosen
        )
    return row, secret


def _validate(**chosen: Any) -> dict[str, Any]:
    if "url" in chosen:
        chosen["url"] = check_url(chosen["url"])
    if "events" in chosen:
        chosen["events"] = _validate_events(chosen["events"])
    if "name" in chosen and len(chosen["name"]) > MAX_NAME_LENGTH:
        raise ValidationFailed("name", f"Use at most {MAX_NAME_LENGTH} characters.")
    if "\0" in chosen.get("name", ""):
        raise ValidationFailed("name", "Leave out characters that can't be printed.")
    return chosen


def _validate_events(events: Collection[str]) -> list[str]:
    if not events or not set(events) <= set(EventType.values):
        raise ValidationFailed("events", f"Choose one or more of {', '.join(EventType.values)}.")
    return [kind for kind in EventType.values if kind in events]


def update(webhook: Webhook, **chosen: Any) -> None:
    """Other values for `url`, `events` or `name`. Raises ValidationFailed."""
    for name, value in (values := _validate(**chosen)).items():
        setattr(webhook, name, value)
    webhook.save(update_fields=list(values))


@transaction.atomic
def set_enabled(webhook: Webhook, *, enabled: bool) -> None:
    """On: told of what happens from now. Off: what still waits is given up.

    Raises StateConflict.
    """
    if not enabled:
        disable(webhook, DisabledReason.OWNER)
        return
    if webhook.off_because == DisabledReason.OPERATOR:
        raise StateConflict("An operator switched this webhook off; ask them why.")
    off = Webhook.objects.filter(pk=webhook.pk).exclude(off_because=DisabledReason.OPERATOR)
    off.update(off_because="", failing_since=None)
    webhook.refresh_from_db(fields=["off_because", "failing_since"])


@transaction.atomic
def rotate_secret(webhook: Webhook) -> str:
    """A new secret; for a day, the old one signs too, unless the keys that hid it are lost."""
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
    """With its log. Whatever is on its way meanwhile changes nothing."""
    webhook.delete()


def prune_deliveries() -> None:
    """Those that are older than is kept; some in each sweep."""
    oldest = clock.now() - timedelta(days=settings.WEBHOOK_LOG_DAYS)
    old = WebhookDelivery.objects.filter(created_at__lt=oldest, due_at=None).order_by("created_at")
    keys = list(old.values_list("pk", flat=True)[:BATCH_SIZE])
    if keys:
        WebhookDelivery.objects.filter(pk__in=keys).delete()
