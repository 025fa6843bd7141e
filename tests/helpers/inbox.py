"""Events in the inbox of a sandbox, as if a worker had read them."""

from __future__ import annotations

import json
from typing import Any

from sandboxes.models import EventEndpoint, EventFeed, Sandbox, SandboxEvent
from sandboxes.webhooks.inbox import feeds
from sandboxes.webhooks.inbox.source import Page, ReadEndpoint, ReadEvent, receiver_url
from tests.fakes.sandbox_api import Reply, SandboxApi
from tests.helpers.scenarios import run_on_commit

SECRET = "whsec_" + "c2VjcmV0" * 4
CLOCK = {
    "now": "2026-11-29T12:00:00Z",
    "frozen": False,
    "next": [
        {"at": f"2026-12-0{day}T09:00:00Z", "action": action, "object_id": f"sbn_00{day}"}
        for day, action in enumerate(("renew_subscription", "retry_payment", "end_trial"), 1)
    ],
}


def receive(sandbox: Sandbox, *kinds: str) -> dict[str, str]:
    """Let events be read, and delivered to the built-in receiver.

    Return the ids of the endpoint and of the last event, by their names in paths of the API.
    """
    number = sandbox.inbox.count()
    events = [
        ReadEvent(f"evt_{number + place:09}", kind, json.dumps({"type": kind, "data": {}}))
        for place, kind in enumerate(kinds, 1)
    ]
    endpoint = ReadEndpoint(
        "whe_001", receiver_url("https://portal.example", sandbox.public_id), ["*"], SECRET
    )
    feed = EventFeed.objects.get(sandbox=sandbox)
    with run_on_commit():
        feeds.store(feed.pk, feed.epoch, Page(events, [endpoint]))
    last = SandboxEvent.objects.filter(sandbox=sandbox).latest("pk")
    row = EventEndpoint.objects.get(sandbox=sandbox)
    return {"endpoint_id": row.endpoint_id, "event_id": last.message_id}


def offer_events(api: SandboxApi) -> None:
    """Let an API have a clock, and record events on demand."""
    api.replies["/v1/test_clock"] = Reply(200, json.dumps(CLOCK).encode())
    api.replies["/v1/events"] = Reply(201, b'{"id": "evt_000000009"}')
    api.replies["/v1/webhook_deliveries"] = Reply(201)
    api.things["requests"] = [
        logged_request(3, "POST", "/v1/plans", 422, body='{"name": ""}', replayable=False),
        logged_request(2, "GET", "/v1/plans/plan_x", 404),
        logged_request(1, "POST", "/v1/plans", 201, body='{"name": "Team"}'),
    ]


def logged_request(
    number: int, method: str, path: str, status: int, body: str = "", *, replayable: bool = True
) -> dict[str, Any]:
    """Return an entry of the request log of an API."""
    return {
        "id": f"log_{number:09}",
        "created_at": f"2026-11-29T12:00:0{number}Z",
        "method": method,
        "path": path,
        "status": status,
        "duration_ms": 2.4,
        "request_id": f"req_{number}",
        "request_body": body,
        "response_body": f'{{"status": {status}, "cut": "her',
        "replayable": replayable,
    }
