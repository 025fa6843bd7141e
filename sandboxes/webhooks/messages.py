"""Webhook messages: the facts of an event when it happens, its JSON when it is delivered.

The facts are stored in the transaction of the event, which may hold the launch lock, so storing
them must be cheap. The worker renders the JSON before the first attempt and keeps it, so that every
retry sends the same bytes.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from django.db.models import Exists, OuterRef

from sandboxes.models import Event, Extension, Sandbox, WebhookDelivery

LEFT_OUT = {"secrets", "final_logs"}
FIELDS = [field for field in Sandbox._meta.concrete_fields if field.name not in LEFT_OUT]  # noqa: SLF001 - the public name of a model's metadata


def sandbox_facts(event: Event) -> dict[str, Any]:
    """Return the fields of the event's sandbox as they are in the database, ready for JSON."""
    # The caller's instance may be older than the database.
    granted = Extension.objects.filter(sandbox=OuterRef("pk"), by_operator=False)
    rows = Sandbox.objects.filter(pk=event.sandbox_id).annotate(extended=Exists(granted))
    row = rows.values("extended", *(field.attname for field in FIELDS)).get()
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def body_of(delivery: WebhookDelivery) -> str:
    """Return the message as JSON: as it was sent, or as it will be sent."""
    if delivery.body:
        return delivery.body
    return encode(delivery.type, delivery.created_at, _serialize(delivery.facts or {}))


def encode(kind: str, at: datetime, data: Any) -> str:
    """Return a message in the format of Standard Webhooks."""
    timestamp = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": kind, "timestamp": timestamp, "data": data}, separators=(",", ":"))


def _serialize(facts: dict[str, Any]) -> Any:
    # Most processes render no messages and needn't load the API's schemas.
    from sandboxes.representations import serializers

    # Facts that an earlier release stored lack the fields that are new in this one.
    known = [field for field in FIELDS if field.attname in facts]
    values = {field.attname: field.to_python(facts[field.attname]) for field in known}
    sandbox = serializers.sandbox(Sandbox(**values), extended=facts["extended"])
    return sandbox.model_dump(mode="json")
