"""Events of sandboxes: read, kept, delivered at least once, and forgotten at a reset."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone
from standardwebhooks import WebhookVerificationError

from sandboxes import actions
from sandboxes.models import EventDelivery, EventEndpoint, EventFeed, Sandbox, SandboxEvent
from sandboxes.webhooks.inbox import delivery, feeds, reader
from sandboxes.worker import resets, teardown
from tests.fakes.sandbox_api import ReceivedRequest, Reply, SandboxApi, with_api_address
from tests.helpers.scenarios import Killed, launch, reload, run_on_commit, sweep

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.conftest import Clock
    from tests.fakes.webhook_receiver import Receiver

pytestmark = pytest.mark.django_db
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FIRST = "evt_000000000"


class EventApi:
    """What a sandbox tells about its events, and what it is told about deliveries."""

    def __init__(self, api: SandboxApi) -> None:
        self.api = api
        self.events: list[dict[str, Any]] = []
        self.endpoints: list[dict[str, Any]] = []
        self.reported: list[dict[str, Any]] = []
        api.reply = self.reply  # type: ignore[method-assign]

    def add(self, *kinds: str) -> None:
        for kind in kinds:
            number = len(self.events) + 1
            event = {"id": f"evt_{number:09}", "type": kind, "object_id": f"inv_{number}"}
            created = {"created_at": "2026-11-29T12:00:00Z", "data": {"n": number}}
            self.events.append(event | created)

    def add_endpoint(self, url: str, *patterns: str, id: str = "whe_001") -> None:  # noqa: A002
        endpoint = {"id": id, "url": url, "event_types": list(patterns or ("*",))}
        self.endpoints.append(endpoint | {"secret": SECRET})

    def reply(self, asked: ReceivedRequest) -> Reply:
        url = urlsplit(asked.target)
        if url.path == "/v1/webhook_deliveries":
            self.reported.append(json.loads(asked.body))
            return Reply(201)
        rows = self.endpoints
        if url.path == "/v1/events":
            [after] = parse_qs(url.query)["after"]
            ids = [FIRST, *(event["id"] for event in self.events)]
            if after not in ids:
                return Reply(422)
            rows = self.events[ids.index(after) :]
        return Reply(200, json.dumps({"data": rows, "has_more": False}).encode())


@pytest.fixture
def sandbox(alice: User, api: SandboxApi) -> Sandbox:
    return with_api_address(launch(alice), api.address)


@pytest.fixture
def source(api: SandboxApi) -> EventApi:
    return EventApi(api)


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "WAIT_SECONDS", 0)


def read() -> None:
    """Read all feeds that are due, and deliver what is due."""
    with run_on_commit():
        for one in reader.due(10):
            one.run(partial(reader.record_traffic, one.feed))
            reader.finish(one, reader.Allowances())
    EventFeed.objects.update(leased_until=None)


def inbox(sandbox: Sandbox) -> list[str]:
    return list(sandbox.inbox.order_by("pk").values_list("event_id", flat=True))


def test_an_event_is_delivered_signed_to_the_endpoints_that_want_it(
    sandbox: Sandbox, source: EventApi, receiver: Receiver
) -> None:
    source.add_endpoint(receiver.url, "invoice.*", "plan.created")
    source.add("invoice.paid", "plan.updated", "plan.created")
    read()

    assert inbox(sandbox) == ["evt_000000001", "evt_000000002", "evt_000000003"]
    first, second = receiver.verified(SECRET)
    assert first["type"] == "invoice.paid" and first["data"] == {"n": 1}
    assert first["timestamp"] == "2026-11-29T12:00:00Z" and first["object_id"] == "inv_1"
    assert second["type"] == "plan.created"
    reported = [(one["event_id"], one["response_status"]) for one in source.reported]
    assert reported == [("evt_000000001", 204), ("evt_000000003", 204)]

    read()
    assert len(receiver.messages) == 2, "an event that was read isn't read again"


def test_reading_events_does_not_count_as_activity(sandbox: Sandbox, source: EventApi) -> None:
    before = reload(sandbox).last_activity_at
    source.add("invoice.paid")
    read()
    after = reload(sandbox)
    assert after.last_activity_at == before
    assert after.portal_sent_bytes > 0 and after.portal_received_bytes > 0
    [asked, _] = source.api.asked
    assert asked.headers["sandbox-portal"] == "automatic"
    assert asked.headers["authorization"] == f"Bearer {sandbox.secrets['PORTAL_KEY']}"


def test_after_a_rotation_both_secrets_sign_for_a_time(
    sandbox: Sandbox, source: EventApi, receiver: Receiver, clock: Clock
) -> None:
    source.add_endpoint(receiver.url)
    until = (timezone.now() + timedelta(hours=1)).isoformat()
    new = "whsec_" + "bmV3" * 8
    rotated = {"secret": new, "previous_secret": SECRET, "previous_secret_until": until}
    source.endpoints[0] |= rotated
    source.add("invoice.paid")
    read()
    assert receiver.verified(SECRET) == receiver.verified(new)
    clock.forward(hours=2)
    receiver.messages.clear()
    source.add("invoice.voided")
    read()
    assert receiver.types(new) == ["invoice.voided"]
    with pytest.raises(WebhookVerificationError):
        receiver.verified(SECRET)


def test_a_flood_of_events_is_slowed_down_after_a_burst() -> None:
    allowances = reader.Allowances()
    assert allowances.pause_after(1, reader.BURST, now=0) is None
    assert allowances.pause_after(1, 50, now=0) == timedelta(seconds=1)
    assert allowances.pause_after(2, 50, now=0) is None, "others aren't slowed down"
    assert allowances.pause_after(1, 50, now=2) is None
    assert allowances.pause_after(1, reader.BURST, now=60) is None


def test_a_failed_delivery_is_retried_under_the_same_id(
    sandbox: Sandbox, source: EventApi, receiver: Receiver, clock: Clock
) -> None:
    receiver.status = 500
    source.add_endpoint(receiver.url)
    source.add("invoice.paid")
    read()
    receiver.status = 204
    clock.forward(seconds=6)
    delivery.deliver_due()

    assert [one["response_status"] for one in source.reported] == [500, 204]
    assert len(set(receiver.ids)) == 1 and len(receiver.messages) == 2
    [row] = EventDelivery.objects.all()
    assert row.status == "delivered" and [entry["status"] for entry in row.log] == [500, 204]


@pytest.mark.parametrize("killed", ["before_storing", "before_delivery", "before_recording"])
def test_nothing_is_lost_if_a_worker_is_killed(
    killed: str,
    sandbox: Sandbox,
    source: EventApi,
    receiver: Receiver,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source.add_endpoint(receiver.url)
    source.add("invoice.paid")
    module, name = {
        "before_storing": (feeds, "store"),
        "before_delivery": (delivery, "_deliver"),
        "before_recording": (delivery, "_record"),
    }[killed]

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as until_then:
        until_then.setattr(module, name, die)
        with pytest.raises(Killed):
            read()
    clock.forward(seconds=90)
    EventFeed.objects.filter(leased_until__lt=timezone.now()).update(leased_until=None)
    read()
    sweep()
    assert receiver.types(SECRET)[-1] == "invoice.paid"
    assert len(set(receiver.ids)) == 1


def test_a_reset_forgets_what_was_read_and_begins_again(
    alice: User, sandbox: Sandbox, source: EventApi, receiver: Receiver
) -> None:
    source.add_endpoint(receiver.url)
    source.add("invoice.paid", "invoice.voided")
    read()
    actions.reset(sandbox, alice)
    read()
    assert len(receiver.messages) == 2, "during a reset nothing is read"
    source.events.clear()
    source.add("plan.created")
    resets.reset(reload(sandbox))
    assert inbox(sandbox) == []
    read()

    assert inbox(sandbox) == ["evt_000000001"]
    assert receiver.types(SECRET) == ["invoice.paid", "invoice.voided", "plan.created"]
    assert len(set(receiver.ids)) == 3, "the id of a message never repeats"


def test_data_that_was_restored_otherwise_is_read_from_its_beginning(
    sandbox: Sandbox, source: EventApi
) -> None:
    source.add("invoice.paid", "invoice.voided")
    read()
    source.events.clear()
    source.add("plan.created")
    read()
    read()
    assert list(sandbox.inbox.values_list("type", flat=True)) == ["plan.created"]


def test_nothing_is_delivered_after_the_end(
    alice: User, sandbox: Sandbox, source: EventApi, receiver: Receiver, clock: Clock
) -> None:
    receiver.status = 500
    source.add_endpoint(receiver.url)
    source.add("invoice.paid")
    read()
    actions.destroy(sandbox, alice)
    teardown.tear_down(reload(sandbox))
    clock.forward(hours=1)
    sweep()
    assert len(receiver.messages) == 1
    [row], [endpoint] = EventDelivery.objects.all(), EventEndpoint.objects.all()
    assert row.status == "failed" and endpoint.secrets == {}


def test_the_portals_rules_for_addresses_hold(
    sandbox: Sandbox, source: EventApi, receiver: Receiver, settings: Any
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = False
    source.add_endpoint(receiver.url)
    source.add("invoice.paid")
    read()
    [row] = EventDelivery.objects.all()
    assert receiver.messages == []
    assert "publicly reachable" in row.log[0]["error"]


def test_the_built_in_receiver_takes_everything(sandbox: Sandbox, source: EventApi) -> None:
    source.add_endpoint(f"https://portal.example/inbox/{sandbox.public_id}")
    source.add("invoice.paid")
    read()
    [row] = EventDelivery.objects.all()
    [entry] = row.log
    assert (row.status, entry["status"]) == ("delivered", 200)
    assert set(entry["headers"]) >= {"webhook-id", "webhook-timestamp", "webhook-signature"}


MISBEHAVIOR: dict[str, tuple[dict[str, int], Callable[[Receiver], bool]]] = {
    "duplicates": ({"duplicates": 100}, lambda it: it.ids == [it.ids[0]] * 2),
    "delay": ({"delay_seconds": 30}, lambda it: len(it.ids) == 1),
    "wrong signature": ({"wrong_signatures": 100}, lambda it: len(it.ids) == 1),
}


@pytest.mark.parametrize("case", MISBEHAVIOR)
def test_deliveries_misbehave_on_purpose(
    case: str, sandbox: Sandbox, source: EventApi, receiver: Receiver, clock: Clock
) -> None:
    values, holds = MISBEHAVIOR[case]
    source.add_endpoint(receiver.url)
    source.add("plan.created")
    read()
    receiver.messages.clear()
    EventEndpoint.objects.update(misbehavior=values)
    source.add("invoice.paid")
    read()
    if case == "delay":
        assert receiver.messages == []
        clock.forward(seconds=31)
        sweep()
    assert holds(receiver)
    if case == "wrong signature":
        with pytest.raises(WebhookVerificationError):
            receiver.verified(SECRET)
        [entry] = EventDelivery.objects.get(event__type="invoice.paid").log
        assert entry["on_purpose"] == "wrong signature"
    else:
        assert receiver.types(SECRET)[-1] == "invoice.paid"


def test_later_events_overtake_those_of_a_disorder(
    sandbox: Sandbox, source: EventApi, receiver: Receiver
) -> None:
    source.add_endpoint(receiver.url)
    source.add("plan.created")
    read()
    EventEndpoint.objects.update(misbehavior={"disorder": 100})
    source.add("invoice.paid")
    read()
    late = EventDelivery.objects.get(event__type="invoice.paid")
    assert late.due_at and timezone.now() + timedelta(seconds=1) < late.due_at


@pytest.mark.parametrize(
    "body",
    [b"no JSON", b"[]", b'{"data": 1}', b"[" * 100_000, b'{"data": [1, {"id": 5, "type": ""}]}'],
)
def test_invalid_answers_of_a_sandbox_are_noted(
    sandbox: Sandbox, api: SandboxApi, body: bytes
) -> None:
    api.replies["/v1/events"] = Reply(200, body)
    read()
    feed = EventFeed.objects.get()
    assert bool(feed.error) == (body[:2] != b'{"' or b": 1}" in body)
    assert SandboxEvent.objects.count() == 0
